//! The rows, in the order in which reasons are reported.

use super::{Class, Row};

reasons! {
    RunFactsUnreadable "RUN_FACTS_UNREADABLE" Invalid:
        "the facts view is not there or is no JSON"
        => "check the reference; the run may not have been published";
    RunFactsInvalid "RUN_FACTS_INVALID" Invalid:
        "the facts view breaks its schema"
        => "have the publisher repair and republish it under a new attempt";
    RunPinsMismatch "RUN_PINS_MISMATCH" Invalid:
        "the view contradicts itself about which run it is of"
        => "quarantine the view and publish it anew";
    BundleHashMismatch "BUNDLE_HASH_MISMATCH" Invalid:
        "locators, receipts and policy do not give the view's bundle hash"
        => "quarantine the view: it was edited after it was made";
    LocatorsEmpty "LOCATORS_EMPTY" Invalid:
        "the view names no output"
        => "publish the outputs, or do not publish the run";
    IntendedOutputMissing "INTENDED_OUTPUT_MISSING" Invalid:
        "an output that was asked for, and is not optional, has no locator"
        => "have the producer complete the run, or ask for less";
    OutputUnknown "OUTPUT_UNKNOWN" Invalid:
        "the catalogue has no such output"
        => "add it to the catalogue or drop it from the view";
    LocatorOutsideRoot "LOCATOR_OUTSIDE_ROOT" Invalid:
        "a path leads, or could lead, outside the oracle root"
        => "quarantine the view; nothing outside the root is read";
    NameRefused "NAME_REFUSED" Invalid:
        "a name inside the root means different things on different stores, is too long, or is \
         reserved"
        => "rename it at its producer, and publish or seal it under the new name";
    LocatorDuplicate "LOCATOR_DUPLICATE" Invalid:
        "two locators name the same path"
        => "publish each output once";
    LocatorTemplateMismatch "LOCATOR_TEMPLATE_MISMATCH" Invalid:
        "a path is not where the catalogue puts that output in this run"
        => "quarantine the view: an output may be named as another";
    LinkRefused "LINK_REFUSED" Invalid:
        "a link or special file is part of a path"
        => "replace it by the file itself in a new pack";
    PackTombstoned "PACK_TOMBSTONED" Invalid:
        "the pack has a tombstone: it must not be read any more, whatever is left of it"
        => "read the pack that replaces it, if its tombstone names one";
    PackRecordInvalid "PACK_RECORD_INVALID" Invalid:
        "a record about the pack is invalid, or does not follow the one before it, so that the \
         pack may have a tombstone"
        => "quarantine the pack; restore its `_records` from a copy";
    #[lenient]
    PackNotSealed "PACK_NOT_SEALED" Invalid:
        "the pack has no readable seal, or the output lies in no pack"
        => "wait for the packer, or seal the pack with `oracle-gate seal`";
    SealInvalid "SEAL_INVALID" Invalid:
        "the seal file is not a seal"
        => "quarantine the pack and seal a new one";
    PackSealedFailed "PACK_SEALED_FAILED" Invalid:
        "the pack was closed as failed and is kept for looking only"
        => "run again; a new attempt gets a new pack";
    #[lenient]
    PackManifestMissing "PACK_MANIFEST_MISSING" Invalid:
        "the pack has no manifest"
        => "seal the files as a new pack";
    PackManifestInvalid "PACK_MANIFEST_INVALID" Invalid:
        "the manifest is not one"
        => "quarantine the pack and seal a new one";
    SealManifestMismatch "SEAL_MANIFEST_MISMATCH" Invalid:
        "the seal is not the seal of this manifest"
        => "quarantine the pack: one of the two was replaced";
    PackIdMismatch "PACK_ID_MISMATCH" Invalid:
        "the pack id does not follow from the manifest's fields"
        => "quarantine the pack";
    PackPinsMismatch "PACK_PINS_MISMATCH" Invalid:
        "the pack belongs to another world or run than the view"
        => "correct the view's locators or pins in a new view";
    PackRefMissing "PACK_REF_MISSING" Invalid:
        "the view does not pin its pack's seal, which the profile demands"
        => "publish the view with `oracle_pack_ref`";
    PackRefMismatch "PACK_REF_MISMATCH" Invalid:
        "the seal is not the one the view pins"
        => "quarantine the pack: it was sealed again";
    PackFileChanged "PACK_FILE_CHANGED" Invalid:
        "a sealed file has other bytes"
        => "quarantine the pack: a sealed pack is never edited, not by hand either; restore it \
            from a copy that verifies";
    PackFileAdded "PACK_FILE_ADDED" Invalid:
        "the pack holds a file that was not sealed"
        => "find out who writes there; a sealed pack is never edited: remove the file, or seal it \
            in a new pack";
    PackFileMissing "PACK_FILE_MISSING" Invalid:
        "a sealed file is gone"
        => "quarantine the pack: a sealed pack is never edited, not by hand either; restore it \
            from a copy that verifies";
    PackResealed "PACK_RESEALED" Invalid:
        "the store keeps an earlier version or a deletion of the pack's seal or manifest"
        => "quarantine the pack; compare the versions, and find out who deleted the first";
    RetentionBelowClass "RETENTION_BELOW_CLASS" Invalid:
        "the store's lock is shorter or weaker than the pack's retention class demands"
        => "lengthen the lock of the objects, and the bucket's default retention; or correct the \
            class";
    LocatorNotInPack "LOCATOR_NOT_IN_PACK" Invalid:
        "the output's file is not in its pack's inventory"
        => "seal it in a new pack";
    LocatorMissing "LOCATOR_MISSING" Invalid:
        "the output's path is not there"
        => "check that the producer published it; do not read a substitute";
    PartSetEmpty "PART_SET_EMPTY" Invalid:
        "a `*` in the last part of a path matches no file"
        => "check that the producer published its parts";
    #[lenient]
    DigestMissing "DIGEST_MISSING" Invalid:
        "a locator has no content digest"
        => "publish the digest";
    DigestMismatch "DIGEST_MISMATCH" Invalid:
        "the output's bytes do not have the digest of the view"
        => "quarantine the output";
    #[lenient]
    FolderUnlisted "FOLDER_UNLISTED" Unverifiable:
        "an output is a folder, and nothing says which files it has: its pack has no \
         inventory, and a folder is not listed"
        => "seal the pack with `oracle-gate seal`, then check again";
    ChangedDuringRead "CHANGED_DURING_READ" Unverifiable:
        "a file was written while it was read"
        => "find out who writes to the store, then check again";
    #[lenient]
    DigestNotVerified "DIGEST_NOT_VERIFIED" Unverifiable:
        "bytes were not hashed, as asked for by `--depth presence`"
        => "check with `--depth digest` before anything is read";
    GateUnknown "GATE_UNKNOWN" Invalid:
        "a gate that is needed or vouched for is not in the gate map"
        => "add the gate to the map or correct the catalogue";
    GatePassMissing "GATE_PASS_MISSING" Invalid:
        "no receipt in scope says PASS for a gate that is needed"
        => "wait for the gate or run it; no PASS, no read";
    GateFailed "GATE_FAILED" Invalid:
        "a receipt says FAIL, whatever others say"
        => "do not read; run again after the cause is repaired";
    GateScopeMismatch "GATE_SCOPE_MISMATCH" Invalid:
        "a receipt is about another world or run"
        => "publish the view with this run's receipts only";
    GateScopeIncomplete "GATE_SCOPE_INCOMPLETE" Invalid:
        "a receipt lacks a pin that its gate must state"
        => "have the gate state its full scope";
    GateReceiptStale "GATE_RECEIPT_STALE" Invalid:
        "a PASS is older than the profile accepts"
        => "have the gate judge again and publish its receipt in a new view";
    GateReceiptUndated "GATE_RECEIPT_UNDATED" Invalid:
        "a PASS does not say when it was given, or a time yet to come, and the profile limits \
         its age"
        => "have the publisher state the gate's time; compare the clocks";
    GateMethodUnknown "GATE_METHOD_UNKNOWN" Invalid:
        "the gate map names a way of verification that is not known here"
        => "use a version of oracle-gate that knows it";
    GateEvidenceMissing "GATE_EVIDENCE_MISSING" Invalid:
        "the evidence of a PASS is not there"
        => "have the gate publish its evidence";
    GateEvidenceInvalid "GATE_EVIDENCE_INVALID" Invalid:
        "a flag or index is not what the gate's method demands"
        => "quarantine the view; have the gate publish its evidence anew, in a new pack";
    #[lenient]
    GateBundleUnlisted "GATE_BUNDLE_UNLISTED" Unverifiable:
        "the files of a gate's bundle are not known: the pack has no inventory, and nothing is \
         listed"
        => "seal the pack with `oracle-gate seal`, then check again";
    GateEvidenceUntrusted "GATE_EVIDENCE_UNTRUSTED" Invalid:
        "the evidence is not signed by an accepted key, or is no evidence"
        => "find out who signed it; accept a key only on its owner's word";
    GateEvidenceMismatch "GATE_EVIDENCE_MISMATCH" Invalid:
        "the evidence says something else than the receipt or the outputs"
        => "quarantine the view";
    InstanceProofMissing "INSTANCE_PROOF_REQUIRED_BUT_MISSING" Invalid:
        "an output that depends on its run has no proof of its own"
        => "publish the instance receipt";
    InstanceScopeIncomplete "INSTANCE_SCOPE_INCOMPLETE" Invalid:
        "an instance receipt lacks a pin that its output depends on"
        => "publish the receipt with the output's full scope";
    InstanceProofMismatch "INSTANCE_PROOF_MISMATCH" Invalid:
        "an instance receipt is about another output, digest or run"
        => "quarantine the view";
    GateKeysMissing "GATE_KEYS_MISSING" Unverifiable:
        "evidence is signed and no accepted key is configured"
        => "set ORACLE_GATE_ATTESTATION_KEYS";
    AccessDenied "ACCESS_DENIED" Unverifiable:
        "the store denies access; the object may or may not be there"
        => "grant the reader its role, then repeat";
    StoreClockSkewed "STORE_CLOCK_SKEWED" Unverifiable:
        "the store refuses the request: the clock of this machine and its own differ too much"
        => "set the clock of this machine, then repeat";
    ObjectArchived "OBJECT_ARCHIVED" Unverifiable:
        "the object is in a storage class that has to be restored before it is read"
        => "restore it, and repeat when the store says that it is there";
    StoreSignatureRefused "STORE_SIGNATURE_REFUSED" Unverifiable:
        "the store refuses the signature: the secret key is another, or something on the way \
         changed the request"
        => "set the secret key that belongs to the access key";
    StoreKeyUnknown "STORE_KEY_UNKNOWN" Unverifiable:
        "the store does not know the access key"
        => "set an access key of this store";
    StoreTokenExpired "STORE_TOKEN_EXPIRED" Unverifiable:
        "the session's token is no longer valid"
        => "get a new session, then repeat";
    BucketNotFound "BUCKET_NOT_FOUND" Unverifiable:
        "there is no such bucket"
        => "correct the root's bucket, or make it";
    StoreRegionWrong "STORE_REGION_WRONG" Unverifiable:
        "the bucket is in another region or behind another endpoint"
        => "set the region and endpoint of the bucket";
    StoreMethodRefused "STORE_METHOD_REFUSED" Unverifiable:
        "the store does not offer this request for this object"
        => "read the object itself; a marker of a deleted version answers so too";
    StoreRefused "STORE_REFUSED" Unverifiable:
        "the store does not accept the request"
        => "look up the store's code in its documentation";
    #[retryable]
    Timeout "TIMEOUT" Unverifiable:
        "the store did not answer in time"
        => "repeat with a pause";
    #[retryable]
    Throttled "THROTTLED" Unverifiable:
        "the store asks for fewer requests"
        => "repeat with a longer pause";
    #[retryable]
    StoreUnavailable "STORE_UNAVAILABLE" Unverifiable:
        "the store failed"
        => "repeat; look at the store if it stays";
    ObjectTooLarge "OBJECT_TOO_LARGE" Unverifiable:
        "a document is larger than is read"
        => "split the pack";
    PackRootNotFound "PACK_ROOT_NOT_FOUND" Invalid:
        "the pack root holds no file"
        => "check the path; an empty pack cannot be sealed";
    PackRootUnderived "PACK_ROOT_UNDERIVED" Usage:
        "no pack root follows from the view's locators"
        => "name it with --pack-root";
    PackRootAmbiguous "PACK_ROOT_AMBIGUOUS" Usage:
        "the view's locators lie in several packs"
        => "name one with --pack-root";
    PackAlreadySealed "PACK_ALREADY_SEALED" Invalid:
        "the pack is sealed; nothing was changed"
        => "use the seal that is there (`--ensure` accepts an equal one), or seal a new pack";
    ManifestMismatch "MANIFEST_MISMATCH" Invalid:
        "another manifest is in the pack"
        => "seal under a new attempt";
    SealMismatch "SEAL_MISMATCH" Invalid:
        "a seal of something else is in the pack"
        => "use the seal that is there, or seal under a new attempt";
    PackNotClean "PACK_NOT_CLEAN" Invalid:
        "the pack's folder does not hold exactly the files to be sealed"
        => "find out who writes there; seal under a new attempt";
    PackOnHold "PACK_ON_HOLD" Invalid:
        "the pack is kept for a matter, so it gets no tombstone"
        => "have the hold released by who ordered it (`oracle-gate release`), then repeat";
    PackRecordRefused "PACK_RECORD_REFUSED" Invalid:
        "what was recorded before does not allow this record"
        => "look at `oracle-gate state`, then correct the command";
    RetentionNotOver "RETENTION_NOT_OVER" Invalid:
        "the time of the pack's retention class is not over, or not known"
        => "wait until it is over, or state the reason for which the pack is given up earlier";
    StoreNotWriteOnce "STORE_NOT_WRITE_ONCE" Usage:
        "the store let a second writer win, so it cannot hold seals"
        => "use a store that honours create-only writes";
    #[retryable]
    SealUnconfirmed "SEAL_UNCONFIRMED" Unverifiable:
        "it is not known whether the seal was written"
        => "repeat the call: it finds out and completes";
    BucketPostureWeak "BUCKET_POSTURE_WEAK" Invalid:
        "the bucket is not set up as the documents of `oracle-gate policy` say"
        => "apply the document that the text names";
    ConfigInvalid "CONFIG_INVALID" Usage:
        "the profile, a setting or a flag cannot be used"
        => "correct what the text names; nothing was read";
}
