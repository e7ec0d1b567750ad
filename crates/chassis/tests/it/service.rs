//! How a process ends says whether it did its work.

use std::time::Duration;

use anyhow::bail;
use chassis::Service;
use chassis::service::{ListenSettings, listen};

use crate::fixture::SOON;

#[tokio::test]
async fn a_task_that_fails_stops_the_others_and_the_end_is_an_error() {
    let service = Service::default();
    let stop = service.stop();
    service.spawn("patient", async move {
        stop.cancelled().await;
        Ok(())
    });
    service.spawn("broken", async { bail!("no more ink") });

    let error = format!("{:#}", service.run(SOON).await.unwrap_err());

    assert!(error.contains("broken") && error.contains("no more ink"), "{error}");
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let service = Service::default();
    service.spawn("clumsy", async { panic!("dropped it") });
    let error = service.run(SOON).await.unwrap_err().to_string();
    assert!(error.contains("clumsy"), "{error}");
}

#[tokio::test]
async fn an_orderly_stop_is_no_error_and_a_late_task_is_one() {
    let service = Service::default();
    let stop = service.stop();
    service.spawn("orderly", async move {
        stop.cancelled().await;
        Ok(())
    });
    service.clone().finish(SOON).await.unwrap();

    let service = Service::default();
    service.spawn("deaf", std::future::pending());
    let error = service.finish(Duration::from_millis(50)).await.unwrap_err().to_string();
    assert!(error.contains("deaf"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_reported_by_its_setting() {
    let taken = listen(testkit::ANY_PORT, "FIRST_PORT").unwrap();
    let error = listen(taken.local_addr().unwrap(), "SECOND_PORT").unwrap_err();
    assert!(error.to_string().starts_with("SECOND_PORT: "), "{error}");

    // Of a block that is kept for documents (RFC 5737), so that no machine has it.
    let settings = ListenSettings { host: "HOST", port: "PORT" };
    let error = listen("203.0.113.5:0".parse().unwrap(), settings).unwrap_err().to_string();
    assert!(error.starts_with("HOST: ") && !error.contains("stop what"), "{error}");
    let error = listen(taken.local_addr().unwrap(), settings).unwrap_err().to_string();
    assert!(error.starts_with("PORT: "), "{error}");
}

#[tokio::test]
async fn a_database_that_refuses_is_reported_by_its_setting() {
    let db = testkit::postgres().await;
    let mut url = url::Url::parse(&db.url).unwrap();
    url.set_path("no_such_database");
    let error = chassis::postgres::connect(url.as_str()).await.unwrap_err().to_string();
    assert!(error.starts_with("DATABASE_URL: ") && error.contains("no_such_database"), "{error}");

    let error = chassis::postgres::connect("mysql:hunter2").await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("DATABASE_URL: ") && !error.contains("hunter2"), "{error}");
}
