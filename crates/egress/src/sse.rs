//! Server-sent events, one after the other, from bytes that come in pieces (WHATWG HTML, 9.2).

/// Most bytes of one event.
pub const MAX_EVENT: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its bytes as they came, with the empty line at its end. The line feed of the last line end
    /// of all may be at the beginning of the next event instead.
    pub raw: Vec<u8>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its data, lines joined; nothing for a comment alone.
    pub data: Option<String>,
}

/// Takes pieces, and hands out events that are whole.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// Where the line begins that was not seen to its end, and how far it was looked through.
    line: usize,
    looked: usize,
    /// The last line ended with a carriage return, of which the line feed may still come.
    returned: bool,
}

impl Parser {
    /// Adds a piece. Answers the events that are whole now.
    ///
    /// # Errors
    /// One event is larger than [`MAX_EVENT`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        self.buffer.extend_from_slice(bytes);
        if self.returned
            && let Some(first) = self.buffer.get(self.line)
        {
            // It ends no line of its own. Its byte goes with the next event.
            self.returned = false;
            self.line += usize::from(*first == b'\n');
            self.looked = self.line;
        }
        let mut events = Vec::new();
        while let Some((end, next)) = self.line_end() {
            let is_empty = end == self.line;
            (self.line, self.looked) = (next, next);
            if is_empty {
                events.push(event(self.buffer.drain(..next).collect()));
                (self.line, self.looked) = (0, 0);
            }
        }
        if self.buffer.len() > MAX_EVENT {
            return Err(format!("an event of the stream is larger than {MAX_EVENT} bytes"));
        }
        Ok(events)
    }

    /// What came after the last whole event, as an event of its own: readers differ about it, and
    /// some servers leave the last empty line out.
    pub fn finish(&mut self) -> Option<Event> {
        (self.line, self.looked) = (0, 0);
        let rest = std::mem::take(&mut self.buffer);
        (!rest.is_empty()).then(|| event(rest))
    }

    /// Where the current line ends and the next one begins.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        let rest = &self.buffer[self.looked..];
        let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.looked = self.buffer.len();
            return None;
        };
        let end = self.looked + at;
        match (self.buffer[end], self.buffer.get(end + 1)) {
            (b'\r', Some(b'\n')) => Some((end, end + 2)),
            (byte, next) => {
                self.returned = byte == b'\r' && next.is_none();
                Some((end, end + 1))
            }
        }
    }
}

fn event(raw: Vec<u8>) -> Event {
    let text = String::from_utf8_lossy(&raw);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut name = None;
    let mut data: Option<String> = None;
    for line in text.split(['\n', '\r']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    Event { raw, name, data }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ": hello\n\nevent: a\ndata: 1\ndata: 2\n\ndata:3\r\n\r\ndata: 4\r\rid: x\n\n";

    fn all(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events: Vec<Event> =
            pieces.iter().flat_map(|piece| parser.feed(piece).unwrap()).collect();
        events.extend(parser.finish());
        events
    }

    #[test]
    fn events_are_read_by_all_line_ends() {
        let events = all(&[STREAM.as_bytes()]);
        let data: Vec<_> = events.iter().map(|event| event.data.as_deref()).collect();
        assert_eq!(data, [None, Some("1\n2"), Some("3"), Some("4"), None]);
        assert_eq!(events[1].name.as_deref(), Some("a"));
        let raw: Vec<u8> = events.into_iter().flat_map(|event| event.raw).collect();
        assert_eq!(raw, STREAM.as_bytes(), "nothing is lost");
    }

    #[test]
    fn an_event_without_end_is_bounded_and_one_without_its_empty_line_is_read() {
        let mut parser = Parser::default();
        assert!(parser.feed(&vec![b'x'; MAX_EVENT + 1]).is_err());
        assert_eq!(all(&[b"data: [DONE]"])[0].data.as_deref(), Some("[DONE]"));
    }

    /// An event is there as soon as its empty line is, also where lines end with a return alone.
    #[test]
    fn no_event_waits_for_the_next_one() {
        let mut parser = Parser::default();
        for (piece, data) in [
            ("data: 1\r\r", Some("1")),
            ("data: 2\r", None),
            ("\r", Some("2")),
            ("data: 3\r\n\r", Some("3")),
            ("\ndata: 4\r", None),
            ("\ndata: 5\r\n", None),
            ("\r\n", Some("4\n5")),
            ("data: 6\n\n", Some("6")),
        ] {
            let events = parser.feed(piece.as_bytes()).unwrap();
            let found: Vec<_> = events.iter().map(|event| event.data.as_deref()).collect();
            assert_eq!(found, data.map(Some).into_iter().collect::<Vec<_>>(), "{piece:?}");
        }
        assert_eq!(parser.finish(), None);
    }

    proptest! {
        /// However the bytes are cut, the events say the same, and nothing is lost.
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(0_usize..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            let said = |events: &[Event]| {
                let events = events.iter().map(|event| (event.name.clone(), event.data.clone()));
                events.collect::<Vec<_>>()
            };
            let (events, whole) = (all(&pieces), all(&[STREAM.as_bytes()]));
            prop_assert_eq!(said(&events), said(&whole));
            let raw: Vec<u8> = events.into_iter().flat_map(|event| event.raw).collect();
            prop_assert_eq!(raw, STREAM.as_bytes());
        }
    }
}
