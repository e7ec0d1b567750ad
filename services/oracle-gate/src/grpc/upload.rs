//! A module's tree on its way in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use seal::Limits;
use tonic::Status;
use wire::Problem;
use wire::digest::Digest;
use wire::pb::oracle::v1 as pb;

use super::parse_digest;
use crate::inputs;
use crate::modules::Incoming;

/// A file while its bytes come in.
struct Open {
    file: pb::ModuleFile,
    content: BytesMut,
}

/// How long the next message is waited for: who stops in the middle must not keep others out.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The digest announced, and every file, each as it was announced.
pub(super) async fn receive(
    mut stream: impl Stream<Item = Result<pb::PutModuleRequest, Status>> + Unpin,
    idle_limit: Duration,
) -> Result<(Digest, Vec<Incoming>), Status> {
    use pb::put_module_request::Item;
    let invalid = |text: &str| Problem::InvalidRequest.status(text);
    let first = next(&mut stream, idle_limit).await?.and_then(|message| message.item);
    let Some(Item::Header(header)) = first else {
        return Err(invalid("the first message is the header"));
    };
    let digest = parse_digest(&header.digest)?;
    let (mut files, mut open, mut left) = (Vec::new(), None::<Open>, Limits::MODULE.bytes);
    while let Some(message) = next(&mut stream, idle_limit).await? {
        match (message.item, &mut open) {
            (Some(Item::File(file)), _) => {
                // A new file ends the one before it.
                files.extend(open.take().map(close).transpose()?);
                if files.len() >= Limits::MODULE.files {
                    return Err(Problem::PayloadTooLarge.status("a module has at most 4096 files"));
                }
                open = Some(Open { file, content: BytesMut::new() });
            }
            (Some(Item::Data(data)), Some(open)) => {
                let length = data.len() as u64;
                left = left.checked_sub(length).ok_or_else(|| {
                    Problem::PayloadTooLarge.status("a module has at most 64 MiB")
                })?;
                open.content.extend_from_slice(&data);
            }
            _ => return Err(invalid("expected a file, then its bytes")),
        }
    }
    files.extend(open.take().map(close).transpose()?);
    Ok((digest, files))
}

/// The digest announced, and the bytes of one input.
pub(super) async fn receive_input(
    mut stream: impl Stream<Item = Result<pb::PutInputRequest, Status>> + Unpin,
    idle_limit: Duration,
) -> Result<(Digest, Bytes), Status> {
    use pb::put_input_request::Item;
    let invalid = |text: &str| Problem::InvalidRequest.status(text);
    let first = next(&mut stream, idle_limit).await?.and_then(|message| message.item);
    let Some(Item::Header(header)) = first else {
        return Err(invalid("the first message is the header"));
    };
    let digest = parse_digest(&header.digest)?;
    let mut content = BytesMut::new();
    while let Some(message) = next(&mut stream, idle_limit).await? {
        let Some(Item::Data(data)) = message.item else {
            return Err(invalid("expected bytes after the header"));
        };
        if content.len() as u64 + data.len() as u64 > inputs::MAX_BYTES {
            return Err(Problem::PayloadTooLarge.status("an input has at most 8 MiB"));
        }
        content.extend_from_slice(&data);
    }
    Ok((digest, content.freeze()))
}

async fn next<M>(
    stream: &mut (impl Stream<Item = Result<M, Status>> + Unpin),
    idle_limit: Duration,
) -> Result<Option<M>, Status> {
    let late = |_| Problem::Unavailable.status("the upload stopped in the middle; send it again");
    tokio::time::timeout(idle_limit, stream.next()).await.map_err(late)?.transpose()
}

fn close(open: Open) -> Result<Incoming, Status> {
    let Open { file, content } = open;
    let content = content.freeze();
    let mismatch = |what: &str| {
        Problem::DigestMismatch
            .status(format!("{:?} has not the {what} it was announced with", file.path))
    };
    if content.len() as u64 != file.length {
        return Err(mismatch("length"));
    }
    if !file.sha256.is_empty() && file.sha256 != Digest::of(&content).to_string() {
        return Err(mismatch("sha256"));
    }
    Ok(Incoming { path: file.path, executable: file.executable, content })
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn an_upload_that_stops_in_the_middle_ends() {
        let digest = Digest::of(b"module").to_string();
        let header = pb::put_module_request::Item::Header(pb::ModuleHeader { digest });
        let header = pb::PutModuleRequest { item: Some(header) };
        let stops = stream::iter([Ok(header)]).chain(stream::pending());
        let Err(refused) = receive(Box::pin(stops), Duration::from_millis(10)).await else {
            panic!("an upload without an end was taken");
        };
        assert_eq!(Problem::of(&refused), Some(Problem::Unavailable));
    }
}
