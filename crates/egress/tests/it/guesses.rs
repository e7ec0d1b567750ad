//! A module that has its guesses at the credential echoed learns nothing from how they come back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use testkit::{Arrived, Step, upstream};
use wire::egress::{Call, UpstreamKind};

use crate::fixture::{Fixture, KEY, PLENTY, completion, delta, raw, route, usage};

/// No form of the credential has it.
const WRONG: char = '~';

/// A body in the pieces that a service sends it in.
fn chunked(pieces: &[String]) -> String {
    let pieces = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    format!("transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", pieces.collect::<String>())
}

fn sized(kind: &str, body: &str) -> String {
    format!("content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Places where a service of any kind may give a guess back.
const PLAIN: [&str; 7] =
    ["/end", "/pieces", "/long", "/middle", "/lines", "/header", "/breaks-off"];

fn plain(request: &Arrived) -> Vec<Step> {
    let guess = String::from_utf8_lossy(&request.body).into_owned();
    let long = "x".repeat(2_000);
    let answer = match request.target.as_str() {
        "/end" => sized("text/plain", &format!("you sent {guess}")),
        "/pieces" => chunked(&["you sent ".to_owned(), guess, " to me".to_owned()]),
        "/long" => chunked(&[format!("{long}{guess}"), format!("-{guess}"), "end".to_owned()]),
        "/middle" => chunked(&[format!("{long}{guess}{long}"), format!("{guess}{long}")]),
        "/lines" => chunked(&[
            format!("data: {guess}\n\n"),
            format!("data: {guess}"),
            format!("\r\n\r\n: {guess}"),
        ]),
        "/header" => format!("x-echo: {guess}\r\n{guess}: 1\r\n{}", sized("text/plain", "ok")),
        _ => format!("content-length: 9000\r\n\r\n{long}{guess}"),
    };
    vec![Step::Send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{answer}").into_bytes())]
}

/// What a model may do with the text that it was sent.
const MODEL: [&str; 4] = ["whole", "stream", "line", "breaks-off"];

fn model(request: &Arrived) -> Vec<Step> {
    let asked = request.json();
    let guess = asked["messages"][0]["content"].as_str().unwrap();
    let last = format!("{}\n\ndata: [DONE]\n\n", usage(5, 2));
    let events =
        |pieces: &[String]| format!("content-type: text/event-stream\r\n{}", chunked(pieces));
    let mut answer = completion(5, 2);
    answer["choices"][0]["message"]["content"] = guess.into();
    let answer = match asked["user"].as_str().unwrap() {
        "whole" => sized("application/json", &answer.to_string()),
        "stream" => events(&[format!("{}\n\n", delta(guess)), last]),
        "line" => events(&[format!(": {guess}"), format!("\n\n{last}"), guess.to_owned()]),
        _ => format!("content-type: application/json\r\ncontent-length: 900\r\n\r\n{guess}"),
    };
    vec![Step::Send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{answer}").into_bytes())]
}

/// Beginnings of the credential, and of forms in which it is looked for.
fn beginnings() -> Vec<String> {
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        (KEY.to_owned(), 1),
        (KEY.to_uppercase(), 5),
        (KEY.replace('-', "%2D"), 5),
        (hex, 9),
        (STANDARD_NO_PAD.encode(KEY), 7),
    ];
    let of = |(form, step): (String, usize)| {
        (1..form.len()).step_by(step).map(move |length| form[..length].to_owned())
    };
    forms.into_iter().flat_map(of).collect()
}

/// The same guess with another last sign, and one that is wrong from its beginning.
fn wrong(guess: &str) -> [String; 2] {
    let almost = format!("{}{WRONG}", &guess[..guess.len() - 1]);
    [almost, WRONG.to_string().repeat(guess.len())]
}

/// Everything that came but the time, with `right` where `guess` came back: the head, the body, and
/// the lengths of its chunks, which may end within a guess. No letter of another size counts: names
/// of headers come in small ones.
fn seen(answer: &str, guess: &str, right: &str) -> (String, String, Vec<usize>) {
    let alike =
        |text: &str| text.to_lowercase().replace(&guess.to_lowercase(), &right.to_lowercase());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let head: String =
        head.split_inclusive("\r\n").filter(|line| !line.starts_with("date:")).collect();
    if !head.contains("transfer-encoding: chunked") {
        return (alike(&head), alike(body), Vec::new());
    }
    let (mut whole, mut lengths, mut rest) = (String::new(), Vec::new(), body);
    // An answer that breaks off has no last chunk.
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        let chunk = behind.get(..length).unwrap_or(behind);
        whole.push_str(chunk);
        lengths.push(length);
        rest = behind.get(length + 2..).unwrap_or_default();
    }
    (alike(&head), alike(&whole), lengths)
}

/// What the list of calls says of it, without digests of the guess and without times.
fn listed(call: &Call) -> impl PartialEq + std::fmt::Debug {
    (
        (call.outcome, call.status, call.reason.clone()),
        (call.request_bytes, call.response_bytes, call.llm_in, call.llm_out),
    )
}

/// Sends each beginning and its wrong siblings to each of the places.
async fn attack(
    kind: UpstreamKind,
    places: &[&str],
    answer: fn(&Arrived) -> Vec<Step>,
    request: impl Fn(&str, &str) -> (String, String),
) {
    let service = upstream(answer);
    let mut route = route(kind, &service.url());
    route.limits.calls = PLENTY.http_calls;
    let fixture = Fixture::with(route, PLENTY);
    let mut asked = Vec::new();
    for place in places {
        for right in beginnings() {
            let mut answers = Vec::new();
            for guess in std::iter::once(right.clone()).chain(wrong(&right)) {
                let (line, body) = request(place, &guess);
                let json = ["content-type: application/json"];
                let answer = raw(&fixture, &line, &json, body.as_bytes());
                answers.push(seen(&answer, &guess, &right));
            }
            // How much of an answer that breaks off still arrives is the network's affair.
            let compared = *place != "/breaks-off";
            assert!(!compared || answers[0].0.starts_with("http/1.1 "), "{place} {right}");
            assert!(!compared || answers.iter().all(|one| *one == answers[0]), "{answers:#?}");
            asked.push(format!("{place} {right}"));
        }
    }
    let (_, calls) = fixture.finish().await;
    assert_eq!(calls.len(), 3 * asked.len());
    for (calls, asked) in calls.chunks(3).zip(asked) {
        let listed: Vec<_> = calls.iter().map(listed).collect();
        assert!(listed.iter().all(|one| *one == listed[0]), "{asked}: {listed:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_beginning_comes_back_as_a_wrong_one_does() {
    let request =
        |place: &str, guess: &str| (format!("POST /model{place} HTTP/1.1"), guess.to_owned());
    attack(UpstreamKind::Http, &PLAIN, plain, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_beginning_comes_back_from_a_model_as_a_wrong_one_does() {
    let request = |place: &str, guess: &str| {
        let body = serde_json::json!({ "model": "m", "user": place,
            "stream": matches!(place, "stream" | "line"),
            "messages": [{ "role": "user", "content": guess }] });
        ("POST /model/chat/completions HTTP/1.1".to_owned(), body.to_string())
    };
    attack(UpstreamKind::OpenAi, &MODEL, model, request).await;
}

/// A whole credential is removed wherever pieces end, and what is around it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_credential_is_removed_wherever_pieces_end() {
    let service = upstream(|request| {
        let cut: usize = request.target[1..].parse().unwrap();
        let pieces = ["a ".to_owned() + &KEY[..cut], KEY[cut..].to_owned() + " b"];
        vec![Step::Send(format!("HTTP/1.1 200 OK\r\n{}", chunked(&pieces)).into_bytes())]
    });
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    for cut in 1..KEY.len() {
        let answer = crate::fixture::fetch(fixture.get(&format!("/{cut}"))).await.unwrap();
        assert_eq!(answer, (200, "a [credential removed] b".to_owned()), "{cut}");
    }
    fixture.finish().await;
}
