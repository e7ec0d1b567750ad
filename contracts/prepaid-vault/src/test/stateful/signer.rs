//! Who must sign a step, and which steps mean nothing.

use soroban_sdk::Address;

use super::network::Network;
use super::step::Step;

impl Network {
    /// Whether a step means nothing: it is about a run and there is none, or it would put code in
    /// place that doesn't exist.
    pub fn is_moot(&self, step: &Step) -> bool {
        match step {
            Step::OpenAgain { .. }
            | Step::Settle { .. }
            | Step::SettleAgain { .. }
            | Step::Void { .. }
            | Step::Reclaim { .. }
            | Step::Cancel { .. }
            | Step::PassToDeadline { .. }
            | Step::Lose { .. } => self.model.runs.is_empty(),
            Step::Upgrade { code } => self.model.could_upgrade(*code).is_ok(),
            _ => false,
        }
    }

    /// Who must sign a step.
    pub fn signer(&self, step: &Step) -> Option<Address> {
        let run = |at: usize| self.run(at).map(|at| &self.model.runs[at]);
        let opener = |at: usize| run(at).map_or(0, |run| run.opener);
        match step {
            Step::Deposit { user, .. }
            | Step::Withdraw { user, .. }
            | Step::SetPolicy { user, .. }
            | Step::SetLimits { user, .. }
            | Step::Grant { user, .. }
            | Step::Revoke { user, .. } => Some(self.users[*user].clone()),
            Step::Open { asked, .. } => Some(self.runners[asked.runner].clone()),
            Step::OpenBatch { runner, .. }
            | Step::SettleBatch { runner, .. }
            | Step::ClaimRunner { runner, .. } => Some(self.runners[*runner].clone()),
            Step::OpenAgain { run, .. } => Some(self.runners[opener(*run)].clone()),
            Step::Settle { run: at, stated, .. } => {
                let able = || self.run(*at).map_or(0, |at| self.able(at));
                Some(self.runners[stated.by.unwrap_or_else(able)].clone())
            }
            Step::SettleAgain { run: at } => Some(self.runners[self.settler(*at)].clone()),
            Step::Void { run, by, .. } => Some(self.runners[by.unwrap_or(opener(*run))].clone()),
            Step::Cancel { run: at, by } => {
                Some(self.users[by.unwrap_or(run(*at).map_or(0, |run| run.user))].clone())
            }
            Step::ClaimDeveloper { developer, .. } => Some(self.developers[*developer].clone()),
            Step::PauseOpens { .. }
            | Step::ProposeAdmin { .. }
            | Step::Schedule { .. }
            | Step::CancelUpgrade
            | Step::Upgrade { .. }
            | Step::Migrate => Some(self.admins[self.model.admin()].clone()),
            Step::AcceptAdmin => self.model.proposed().map(|who| self.admins[who].clone()),
            Step::Reclaim { .. }
            | Step::Sweep { .. }
            | Step::Donate { .. }
            | Step::List { .. }
            | Step::Delist { .. }
            | Step::Publish { .. }
            | Step::Pass { .. }
            | Step::PassToDeadline { .. }
            | Step::Lose { .. } => None,
        }
    }
}

/// Whether a step is a call of the vault.
pub(super) fn is_vaults(step: &Step) -> bool {
    !matches!(
        step,
        Step::Donate { .. }
            | Step::List { .. }
            | Step::Delist { .. }
            | Step::Publish { .. }
            | Step::Pass { .. }
            | Step::PassToDeadline { .. }
            | Step::Lose { .. }
    )
}
