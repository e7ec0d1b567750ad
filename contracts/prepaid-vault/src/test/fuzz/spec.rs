//! A contract's interface, read from its Wasm (SEP-48).

use soroban_sdk::xdr::{
    Limited, Limits, ReadXdr, ScSpecEntry, ScSpecEventV0, ScSpecTypeDef, ScSpecUdtStructV0,
};

use super::{List, Text};

const SECTION: &[u8] = b"contractspecv0";

pub(in super::super) struct Spec {
    /// Name and types of the arguments.
    pub functions: List<(Text, List<ScSpecTypeDef>)>,
    pub events: List<ScSpecEventV0>,
    structs: List<ScSpecUdtStructV0>,
}

impl Spec {
    pub fn of(wasm: &[u8]) -> Self {
        let (mut functions, mut events, mut structs) = (List::new(), List::new(), List::new());
        let mut reader = Limited::new(section(wasm), Limits::none());
        while !reader.inner.is_empty() {
            match ScSpecEntry::read_xdr(&mut reader).unwrap() {
                ScSpecEntry::FunctionV0(function) => {
                    let types = function.inputs.iter().map(|input| input.type_.clone());
                    functions.push((function.name.to_utf8_string_lossy(), types.collect()));
                }
                ScSpecEntry::EventV0(event) => events.push(event),
                ScSpecEntry::UdtStructV0(of) => structs.push(of),
                _ => {}
            }
        }
        Self { functions, events, structs }
    }

    pub fn of_struct(&self, name: &str) -> Option<&ScSpecUdtStructV0> {
        self.structs.iter().find(|of| of.name.to_utf8_string_lossy() == name)
    }
}

/// The interface section's content.
fn section(wasm: &[u8]) -> &[u8] {
    let mut rest = &wasm[8..];
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = number(after);
        let (section, after) = after.split_at(length);
        if *id == 0 && section[1..].starts_with(SECTION) {
            return &section[1 + SECTION.len()..];
        }
        rest = after;
    }
    panic!("the Wasm has no interface section")
}

/// A LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let digits = bytes[..=end].iter().rev();
    let value = digits.fold(0, |sum, byte| (sum << 7) | usize::from(byte & 0x7f));
    (value, &bytes[end + 1..])
}
