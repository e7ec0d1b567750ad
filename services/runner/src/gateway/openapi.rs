//! The document of the HTTP gateway (OpenAPI 3.1), made from the routes and types that serve.
//!
//! What holds for every route is here: refusals are problem documents, and which of them a
//! route can answer follows from what it takes. `spec/openapi.json` is the committed document.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};
use wire::event::{CloudEvent, RunData};
use wire::problem::{Issue, ProblemBody};

use crate::gateway::login;

/// The name of the login in the document.
const BEARER: &str = "bearer";

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = document().to_pretty_json().unwrap_or_default();
    format!("{text}\n")
});

/// Answers the document of these routes.
#[utoipa::path(get, path = "/openapi.json", tag = "service",
    responses((status = 200, content_type = "application/json", body = Object,
        description = "OpenAPI 3.1.")),
)]
pub async fn show() -> Response {
    let kind = HeaderValue::from_static("application/json");
    let fresh = HeaderValue::from_static("no-cache");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, fresh)], TEXT.as_str()).into_response()
}

/// The document.
pub fn document() -> OpenApi {
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Lumio runner")
                .version("1")
                .description(Some(
                    "Starts, shows and stops paid runs. Refusals are problem documents (RFC \
                     9457). Amounts are decimal strings of stroops, times RFC 3339 in UTC. \
                     Readers ignore members that they do not know.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme(
                    BEARER,
                    SecurityScheme::Http(
                        HttpBuilder::new()
                            .scheme(HttpAuthScheme::Bearer)
                            .description(Some("A token of the login (SEP-10, SEP-45)."))
                            .build(),
                    ),
                )
                .schema("ProblemBody", ProblemBody::schema())
                .schema("Issue", Issue::schema())
                // What streams carry.
                .schema("CloudEvent", CloudEvent::schema())
                .schema("RunData", RunData::schema())
                .build(),
        ))
        .build();
    let mut schemas = Vec::new();
    RunData::schemas(&mut schemas);
    if let Some(components) = &mut document.components {
        components.schemas.extend(schemas);
    }

    let mut guarded = super::behind_login().into_openapi();
    describe(&mut guarded, true);
    let mut open = super::before_login().into_openapi();
    open.merge(super::documents().into_openapi());
    open.merge(login::open().into_openapi());
    describe(&mut open, false);
    let mut session = login::behind_guard().into_openapi();
    describe(&mut session, true);
    for part in [guarded, open, session] {
        document.merge(part);
    }
    // A path of several segments is one parameter here.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths =
        paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document
}

/// Adds what every route can answer beside what it says itself.
fn describe(part: &mut OpenApi, needs_login: bool) {
    for (path, item) in &mut part.paths.paths {
        let operations = [&mut item.get, &mut item.post];
        let takes_body = [false, true];
        for (operation, is_post) in operations.into_iter().zip(takes_body) {
            let Some(operation) = operation else { continue };
            let mut statuses = vec![400, 404, 421, 429, 500, 503];
            if is_post {
                statuses.extend([408, 413, 415]);
            }
            // The file is another one than the caller wants, or has no such part.
            if path.starts_with("/runs/{id}/outputs/") {
                statuses.extend([412, 416]);
            }
            if needs_login {
                statuses.extend([401, 403]);
                let requirement = SecurityRequirement::new(BEARER, Vec::<String>::new());
                operation.security = Some(vec![requirement, SecurityRequirement::default()]);
            }
            if path.starts_with("/auth") || path.starts_with("/sep45") {
                statuses.push(401);
            }
            // States that change meanwhile, keys that were used, and what a gate refuses.
            if path.starts_with("/runs") || path.starts_with("/operator") {
                statuses.extend([409, 422]);
            }
            for status in statuses {
                refuse(operation, status);
            }
        }
    }
}

/// Says that the operation may be refused with this status, unless it says so already.
fn refuse(operation: &mut Operation, status: u16) {
    let described = operation.responses.responses.entry(status.to_string());
    described.or_insert_with(|| {
        let problem = RefOr::Ref(Ref::from_schema_name("ProblemBody"));
        let response = ResponseBuilder::new()
            .description(reason(status))
            .content(
                "application/problem+json",
                ContentBuilder::new().schema(Some(problem)).build(),
            )
            .build();
        RefOr::T(response)
    });
}

const fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request is not one that this route takes; `issues` names every mistake.",
        401 => "A login is needed, or the one that was shown does not hold.",
        403 => "The caller may not do this.",
        404 => "Not found, or the caller may not see it.",
        408 => "The body, or the next piece of it, did not come in time.",
        409 => "The state of the run does not allow it now.",
        412 => "The file does not match If-Match.",
        413 => "The body is too large.",
        415 => "Another media type than application/json was sent.",
        416 => "The file has no such part; Content-Range says how long it is.",
        421 => "The gateway is not called by this name.",
        422 => "The same Idempotency-Key came with another request.",
        429 => "Too much was asked for; Retry-After says when to come back.",
        503 => "Something that is needed does not answer; try again.",
        _ => "The runner could not do it; its log says why.",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_routes() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, TEXT.as_str()).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == *TEXT, "spec/openapi.json is out of date; run with UPDATE=1");
    }

    #[test]
    fn every_operation_says_how_it_is_refused_and_what_it_does() {
        let document = document();
        let mut names = std::collections::BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for operation in [&item.get, &item.post].into_iter().flatten() {
                let name = operation.operation_id.as_deref().unwrap_or_default();
                assert!(names.insert(name), "{path}: clients are generated by name: {name}");
                let summary = operation.summary.as_deref().unwrap_or_default();
                assert!(summary.ends_with('.'), "{path}: {summary}");
                assert!(operation.responses.responses.contains_key("429"), "{path}");
            }
        }
        assert!(document.paths.paths.contains_key("/runs/{id}/outputs/{path}"));
    }
}
