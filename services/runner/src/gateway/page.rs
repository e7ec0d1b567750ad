//! Lists in pages: the newest runs, oldest of them first, as frontends know the list; the next page
//! holds older ones (R5).

use futures::TryStreamExt as _;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::Problem;

use crate::auth::caller::Scope;
use crate::error::{Error, Result};
use crate::gateway::answers::PAGE_BYTES;
use crate::gateway::store::{self, Filter};
use crate::model::run::Snapshot;
use crate::model::state::Status;

/// Runs on a page when the caller names no number, and at most.
const MOST: i64 = 500;

/// A page.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    limit: i64,
    before: Option<(OffsetDateTime, Uuid)>,
}

impl Page {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`].
    pub fn read(limit: Option<&str>, cursor: Option<&str>) -> Result<Self> {
        let invalid = |text: String| Error::refused(Problem::InvalidRequest, text);
        let limit = match limit {
            None => MOST,
            Some(text) => match text.parse() {
                Ok(number) if (1..=MOST).contains(&number) => number,
                _ => {
                    return Err(invalid(format!(
                        "limit: expected a whole number from 1 to {MOST}"
                    )));
                }
            },
        };
        let before = cursor.filter(|text| !text.is_empty()).map(|text| {
            decode(text).ok_or_else(|| invalid("cursor: expected one of a Link header".to_owned()))
        });
        Ok(Self { limit, before: before.transpose()? })
    }

    /// Reads the page, and the cursor of the next one if there is one. `show` makes of a run what
    /// is shown, and says how many bytes that takes. A page ends before it has more than
    /// [`PAGE_BYTES`]: rows that were read and are not shown are never in memory together.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], and what `show` fails with.
    pub async fn fetch<T: Send>(
        &self,
        db: &PgPool,
        scope: &Scope,
        status: Option<Status>,
        show: impl Fn(&Snapshot) -> Result<(T, usize)> + Send,
    ) -> Result<(Vec<T>, Option<String>)> {
        let Scope { user, subject } = scope.clone();
        let (before, limit) = (self.before, self.limit + 1);
        // One more than is shown says whether there is a next page.
        let filter = Filter { user, subject, status, before, limit };
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut query = store::list_query(&filter);
        let mut runs = store::list(db, &mut query);
        let (mut shown, mut bytes, mut last, mut more) = (Vec::new(), 0_usize, None, false);
        while let Some(run) = runs.try_next().await? {
            let (view, length) = show(&run)?;
            bytes = bytes.saturating_add(length);
            // One run is shown however large it is: the list goes on.
            if shown.len() >= most || bytes > PAGE_BYTES && !shown.is_empty() {
                more = true;
                break;
            }
            last = Some((run.run.created_at, *run.run.id.as_uuid()));
            shown.push(view);
        }
        let next = last.filter(|_| more).map(|(at, id)| encode(at, id));
        shown.reverse();
        Ok((shown, next))
    }

    /// The `Link` header that leads to the next page (RFC 8288).
    pub fn link(&self, cursor: &str, user: Option<&str>, status: Option<Status>) -> String {
        let mut query = format!("limit={}&cursor={cursor}", self.limit);
        if let Some(user) =
            user.filter(|user| user.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            query.push_str(&format!("&user={user}"));
        }
        if let Some(status) = status {
            query.push_str(&format!("&status={status}"));
        }
        format!("</runs?{query}>; rel=\"next\"")
    }
}

/// Reads an account to narrow a list to.
///
/// # Errors
///
/// [`Problem::InvalidRequest`].
pub fn user(text: &str) -> Result<String> {
    match text.parse::<stellar::Address>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(Error::refused(
            Problem::InvalidRequest,
            "user: expected an account (G…) or a contract (C…)",
        )),
    }
}

/// Reads a status to narrow a list to.
///
/// # Errors
///
/// [`Problem::InvalidRequest`].
pub fn status(text: &str) -> Result<Status> {
    let names = || Status::ALL.map(Status::name).join(", ");
    text.parse().map_err(|_| {
        Error::refused(Problem::InvalidRequest, format!("status: expected one of {}", names()))
    })
}

/// Age and id of the last run on the page, not meant to be read by anybody else.
fn encode(at: OffsetDateTime, id: Uuid) -> String {
    let micros = at.unix_timestamp_nanos() / 1_000;
    hex::encode(format!("{micros} {}", id.simple()))
}

fn decode(cursor: &str) -> Option<(OffsetDateTime, Uuid)> {
    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
    let (micros, id) = text.split_once(' ')?;
    let nanos = micros.parse::<i128>().ok()?.checked_mul(1_000)?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    // Postgres holds fewer years than this type: no run is older than the service.
    let known = (1970..10_000).contains(&at.year());
    known.then_some((at, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_800_000_000_123_456_000).unwrap();
        let id = Uuid::from_u128(7);
        assert_eq!(decode(&encode(at, id)), Some((at, id)));
        let id = id.simple();
        let years = ["-377705116800000000", "-1", "253402300800000000"];
        let years = years.map(|micros| hex::encode(format!("{micros} {id}")));
        for bad in years.iter().map(String::as_str).chain([
            "",
            "zz",
            "00",
            "0",
            &hex::encode("1 2 3"),
            &hex::encode("1 \0"),
            &hex::encode("9".repeat(60)),
        ]) {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_are_whole_and_bounded() {
        for bad in ["0", "501", "-1", "1.5", "many"] {
            assert!(Page::read(Some(bad), None).is_err(), "{bad}");
        }
        assert_eq!(Page::read(None, None).unwrap().limit, MOST);
    }
}
