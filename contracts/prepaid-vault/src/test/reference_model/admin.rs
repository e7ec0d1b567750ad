//! Administration in the model.

use super::{Answer, DAY, Model};
use crate::VaultError;

impl Model {
    pub fn admin(&self) -> usize {
        self.admin
    }

    pub fn proposed(&self) -> Option<usize> {
        self.proposed
    }

    pub fn opens_paused(&self) -> bool {
        self.opens_paused
    }

    pub fn propose(&mut self, who: usize) -> Answer<()> {
        self.proposed = Some(who).filter(|who| *who != self.admin);
        Ok(())
    }

    pub fn accept(&mut self) -> Answer<()> {
        self.admin = self.proposed.take().ok_or(VaultError::AdminNotProposed)?;
        self.upgrade = None;
        Ok(())
    }

    pub fn schedule(&mut self, code: u8) -> Answer<()> {
        self.upgrade = Some((code, self.now + 7 * DAY));
        Ok(())
    }

    pub fn cancel_upgrade(&mut self) -> Answer<()> {
        let announced = self.announced().ok_or(VaultError::UpgradeNotScheduled);
        self.upgrade = None;
        announced.map(|_| ())
    }

    /// The announced code, unless it lapsed 14 days after it became ready (V20).
    fn announced(&self) -> Option<(u8, u64)> {
        self.upgrade.filter(|(_, ready)| self.now < ready + 14 * DAY)
    }

    /// Whether the code could be put in place now; it isn't.
    pub fn could_upgrade(&self, code: u8) -> Answer<()> {
        match self.announced() {
            Some((scheduled, _)) if scheduled != code => Err(VaultError::UpgradeNotScheduled),
            Some((_, ready)) if self.now < ready => Err(VaultError::UpgradeNotReady),
            Some(_) => Ok(()),
            None => Err(VaultError::UpgradeNotScheduled),
        }
    }

    /// Answers whether anything changed.
    pub fn set_opens_paused(&mut self, paused: bool) -> bool {
        core::mem::replace(&mut self.opens_paused, paused) != paused
    }
}
