//! What the two statements of a draft say, once they are verified against each other and the draft.

use ed25519_dalek::VerifyingKey;
use wire::Problem;
use wire::statement::{
    Execution, ExecutionStatement, Shipping, ShippingStatement, StatementError, Verdict,
};

use super::record::Draft;
use crate::error::Error;

/// Most bytes of a plan or record.
const MAX_DRAFT_BYTES: usize = 1 << 20;

/// Verified statements of one attempt.
#[derive(Debug, Clone)]
pub struct Claims {
    /// What was executed.
    pub execution: Execution,
    /// Why the module could be shipped; a failed run may have none.
    pub shipping: Option<Shipping>,
}

impl Claims {
    /// Verifies both statements by the accepted keys, and that they are of this run and module.
    ///
    /// # Errors
    /// [`Problem::StatementInvalid`] or [`Problem::InvalidRequest`], with what is wrong.
    pub fn verify(keys: &[VerifyingKey], draft: &Draft) -> Result<Self, Error> {
        // First the signature, then what is said: nothing unsigned is looked at.
        let (statement, _) = ExecutionStatement::open(&draft.statement, keys)
            .map_err(|error| invalid("execution", &error))?;
        let execution = statement.into_predicate();
        let of_this_run = [
            ("the statement is of another run", execution.run_id == draft.run),
            ("the statement is of another attempt", execution.attempt == draft.attempt),
            ("the statement is of another workflow", execution.workflow_id == draft.workflow_id),
        ];
        if let Some((wrong, _)) = of_this_run.into_iter().find(|(_, holds)| !holds) {
            return Err(Error::refused(Problem::StatementInvalid, wrong));
        }
        // Names are checked here, before a row exists: a path that cannot be sealed would fail on
        // every repeat.
        for output in &execution.outputs {
            seal::path::check_output(&output.path)
                .map_err(|error| Error::refused(Problem::StatementInvalid, error.to_string()))?;
        }
        let shipping = shipping(keys, draft)?;
        if shipping
            .as_ref()
            .is_some_and(|shipping| shipping.module_digest != execution.module_digest)
        {
            let text = "the shipping statement is of another module";
            return Err(Error::refused(Problem::StatementInvalid, text));
        }
        let claims = Self { execution, shipping };
        // A failed run is sealed too, as evidence; a verdict and drafts are needed for outputs
        // alone.
        if claims.passed() {
            claims.needs_a_verdict()?;
            drafts(draft)?;
        }
        Ok(claims)
    }

    /// Whether the run has outputs to seal.
    pub fn passed(&self) -> bool {
        self.execution.verdict == Verdict::Pass
    }

    fn needs_a_verdict(&self) -> Result<(), Error> {
        match &self.shipping {
            Some(shipping) if shipping.verdict == Verdict::Pass => Ok(()),
            Some(_) => {
                let text = "the shipping statement does not say PASS";
                Err(Error::refused(Problem::StatementInvalid, text))
            }
            None => {
                let text = "a run that passed is sealed with its module's shipping statement";
                Err(Error::refused(Problem::InvalidRequest, text))
            }
        }
    }
}

fn shipping(keys: &[VerifyingKey], draft: &Draft) -> Result<Option<Shipping>, Error> {
    // Empty is protobuf's "not given".
    if draft.shipping.is_empty() {
        return Ok(None);
    }
    match ShippingStatement::open(&draft.shipping, keys) {
        Ok((statement, _)) => Ok(Some(statement.into_predicate())),
        Err(error) => Err(invalid("shipping", &error)),
    }
}

fn invalid(which: &str, error: &StatementError) -> Error {
    let text = format!("{which} statement: {}", wire::causes(error));
    Error::refused(Problem::StatementInvalid, text)
}

/// The runner's drafts are kept as they are, so they have to be what they are kept as.
fn drafts(draft: &Draft) -> Result<(), Error> {
    let refused = |text: &str| Error::refused(Problem::InvalidRequest, text);
    if draft.plan.len() > MAX_DRAFT_BYTES || draft.record.len() > MAX_DRAFT_BYTES {
        let text = "plan_json and record_json have at most 1 MiB each";
        return Err(Error::refused(Problem::PayloadTooLarge, text));
    }
    let object = |bytes: &[u8]| {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok()
    };
    if !object(&draft.plan) {
        return Err(refused("plan_json is not a JSON object"));
    }
    let mut lines = draft.record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    if !lines.all(object) {
        return Err(refused("record_json is not lines of JSON objects"));
    }
    Ok(())
}
