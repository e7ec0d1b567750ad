//! The depth of a check asked for by a call.

use std::sync::Arc;

use oracle_gate::Gate;
use oracle_gate::config::Config;
use oracle_gate::grpc::Calls;
use oracle_gate::profile::Profile;
use oracle_gate::runs::seal;
use tonic::{Request, Response};
use wire::Problem;
use wire::pb::oracle::v1::oracle_gate_server::OracleGate;
use wire::pb::oracle::v1::{CheckDepth, CheckRequest, CheckStatus};

use crate::fixture::{Fixture, NOW};

#[tokio::test]
async fn how_far_a_check_looks_is_the_callers_to_ask_and_the_profiles_to_allow() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let strict = fixture.gate(&db).await;
    let (sealed, _) = seal(&strict, fixture.passed(1), NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    let root = fixture.dir.path().to_str().unwrap().to_owned();
    let profile = Profile::load("local", Some(root), |_| None).unwrap();
    let config = Config { profile, ..fixture.config() };
    let lenient = Gate::new(db.pool.clone(), fixture.objects(), &config);
    let ask = async |gate: &Gate, depth| {
        let calls = Calls::new(Arc::new(gate.clone()));
        let run_facts_ref = facts_ref.clone();
        let request = CheckRequest { run_facts_ref, strict_seal: true, depth };
        calls.check(Request::new(request)).await.map(Response::into_inner)
    };
    for depth in [CheckDepth::Unspecified, CheckDepth::Digest] {
        for gate in [&strict, &lenient] {
            assert_eq!(ask(gate, depth.into()).await.unwrap().status(), CheckStatus::Ok);
        }
    }
    let presence = ask(&lenient, CheckDepth::Presence.into()).await.unwrap();
    assert_eq!(presence.status(), CheckStatus::Warn);
    assert_eq!(presence.issues[0].code, "DIGEST_NOT_VERIFIED");
    for (gate, depth) in [(&strict, CheckDepth::Presence as i32), (&lenient, 99)] {
        let refused = ask(gate, depth).await.unwrap_err();
        assert_eq!(Problem::of(&refused), Some(Problem::InvalidRequest), "{refused}");
    }
}
