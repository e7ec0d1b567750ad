//! Offers of the chain as messages: what HTTP shows under `/agents`, `/quote` and `/grants`.

use serde::Serialize;
use wire::pb::common::v1::Usage;
use wire::pb::runner::v1 as pb;

use crate::error::{Error, Result};
use crate::gateway::market::{
    AgentDetails, AgentView, GrantView, QuoteView, RateCardView, RatesView,
};

/// An agent.
pub(super) fn agent(view: AgentView) -> pb::Agent {
    pb::Agent {
        agent_id: view.agent_id,
        developer: view.developer,
        metadata_uri: view.metadata_uri,
        runners: view.runners,
        lists_this_runner: view.lists_this_runner,
        latest_rate_version: view.latest_rate_version,
        rates: view.rates.map(rates),
        manifest_hash: view.manifest_hash.map(|digest| digest.to_string()),
        attesters: view.attesters.iter().map(ToString::to_string).collect(),
    }
}

/// An agent with what is known of its module.
pub(super) fn details(view: AgentDetails) -> Result<pb::AgentDetails> {
    let card = |card: RateCardView| pb::RateCard {
        version: card.version,
        rates: Some(rates(card.rates)),
        manifest_hash: card.manifest_hash.to_string(),
    };
    Ok(pb::AgentDetails {
        verdict_json: view.verdict.as_ref().map(json).transpose()?,
        input_schema_json: view.input_schema.as_ref().map(json).transpose()?,
        rate_cards: view.rate_cards.into_iter().map(card).collect(),
        agent: Some(agent(view.agent)),
    })
}

/// A price.
pub(super) fn quote(view: QuoteView, budgets: Option<Usage>) -> pb::QuoteResponse {
    pb::QuoteResponse {
        agent_id: view.agent_id,
        rate_version: view.rate_version,
        rates: Some(rates(view.rates)),
        manifest_hash: view.manifest_hash.to_string(),
        developer: view.developer,
        budgets,
        max_charge: view.max_charge,
        runner_fee: view.runner_fee,
        escrow: view.escrow,
        refusal: view
            .refusal
            .map(|refusal| pb::Refusal { code: refusal.code, reason: refusal.reason }),
    }
}

/// A grant.
pub(super) fn grant(view: GrantView) -> pb::Grant {
    pb::Grant {
        runner: view.runner,
        is_this_runner: view.is_this_runner,
        agent_id: view.agent_id,
        issued_at: view.issued_at,
        expires_at: view.expires_at,
        used: view.used,
        limits: view.limits.map(|limits| pb::GrantLimits {
            per_run_cap: limits.per_run_cap,
            total_cap: limits.total_cap,
            max_runner_fee: limits.max_runner_fee,
        }),
    }
}

fn rates(view: RatesView) -> pb::Rates {
    pb::Rates {
        llm_in: view.llm_in,
        llm_out: view.llm_out,
        http_calls: view.http_calls,
        runtime_ms: view.runtime_ms,
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Broken(error.to_string()))
}
