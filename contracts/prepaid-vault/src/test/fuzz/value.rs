//! Values for calls: of the right type, extreme, or of no type at all.

use soroban_sdk::xdr::{
    AccountId, ClaimableBalanceId, Hash, Int128Parts, MuxedEd25519Account, PoolId, PublicKey,
    ScAddress, ScBytes, ScMap, ScMapEntry, ScSpecTypeDef, ScSpecUdtStructFieldV0,
    ScSpecUdtStructV0, ScString, ScVal, ScVec, UInt128Parts, Uint256,
};

use super::super::{DAY, HOUR, NOON, std};
use super::spec::Spec;
use super::{List, Text};

#[derive(Debug)]
pub(super) struct Call {
    pub function: Text,
    pub arguments: List<ScVal>,
    /// Every value is of its argument's type.
    pub well_formed: bool,
}

pub(super) struct Maker<'a> {
    spec: &'a Spec,
    addresses: List<ScVal>,
    examples: List<(&'a str, ScVal)>,
    agent: u32,
    state: u64,
    well_formed: bool,
    /// One value in so many is of another type; 0 is none.
    spoil: u64,
}

impl<'a> Maker<'a> {
    pub fn new(
        spec: &'a Spec,
        addresses: List<ScVal>,
        examples: List<(&'a str, ScVal)>,
        seed: u64,
        agent: u32,
    ) -> Self {
        Self { spec, addresses, examples, agent, state: seed, well_formed: true, spoil: 0 }
    }

    pub fn call(&mut self) -> Call {
        self.well_formed = true;
        self.spoil = if self.one_in(2) { 0 } else { 6 };
        let functions = &self.spec.functions;
        let (mut function, types) = self.pick(functions);
        let mut arguments: List<_> = types.iter().map(|of| self.value(of)).collect();
        if self.spoil > 0 && self.one_in(8) {
            self.well_formed = false;
            match self.below(3) {
                0 => drop(arguments.pop()),
                1 => arguments.push(self.anything(0)),
                _ => function = self.pick(&["nobody", "__constructor", "__check_auth"]).into(),
            }
        }
        Call { function, arguments, well_formed: self.well_formed }
    }

    fn value(&mut self, of: &ScSpecTypeDef) -> ScVal {
        if self.spoil > 0 && self.one_in(self.spoil) {
            self.well_formed = false;
            return self.anything(0);
        }
        match of {
            ScSpecTypeDef::Bool => ScVal::Bool(self.one_in(2)),
            ScSpecTypeDef::U32 => {
                let agent = self.agent;
                ScVal::U32(self.pick(&[0, 1, 2, 3, agent, agent, agent, u32::MAX]))
            }
            ScSpecTypeDef::U64 => {
                let times = [0, 1, NOON - 1, NOON, NOON + HOUR, NOON + DAY, u64::MAX];
                ScVal::U64(self.pick(&times))
            }
            ScSpecTypeDef::I128 => ScVal::I128(self.amount()),
            ScSpecTypeDef::Address => {
                let at = self.below(self.addresses.len());
                self.addresses[at].clone()
            }
            ScSpecTypeDef::BytesN(of) => {
                let known = self.example("BytesN").filter(|_| of.n == 32);
                known.unwrap_or_else(|| self.bytes(of.n as usize))
            }
            ScSpecTypeDef::String => {
                let length = self.pick(&[0usize, 1, 256, 257, 4_000]);
                ScVal::String(ScString(std::vec![b'x'; length].try_into().unwrap()))
            }
            ScSpecTypeDef::Option(of) => {
                if self.one_in(2) {
                    ScVal::Void
                } else {
                    self.value(&of.value_type)
                }
            }
            ScSpecTypeDef::Vec(of) => {
                let length = self.pick(&[0usize, 1, 1, 2, 3, 11, 16, 17, 60]);
                list((0..length).map(|_| self.value(&of.element_type)).collect())
            }
            ScSpecTypeDef::Udt(of) => self.of_struct(&of.name.to_utf8_string_lossy()),
            other => panic!("no value for {other:?} yet"),
        }
    }

    /// A struct: a known good one, or one made field by field; spoiled, one that has a field too
    /// few, too many or of another name.
    fn of_struct(&mut self, name: &str) -> ScVal {
        let spec = self.spec;
        let of = spec.of_struct(name).unwrap_or_else(|| panic!("no value for {name} yet"));
        let known = if self.one_in(3) { None } else { self.example(name) };
        if of.fields.iter().all(|field| field.name.as_slice().iter().all(u8::is_ascii_digit)) {
            return self.of_tuple(of, known);
        }
        let mut fields: List<ScMapEntry> = match known {
            Some(ScVal::Map(Some(map))) => map.0.to_vec(),
            _ => of.fields.iter().map(|field| self.field(field)).collect(),
        };
        if self.one_in(2) {
            let at = self.below(fields.len());
            fields[at] = self.field(&of.fields[at]);
        }
        if self.spoil > 0 && self.one_in(self.spoil) {
            self.well_formed = false;
            match self.below(3) {
                0 => drop(fields.pop()),
                1 => fields.push(ScMapEntry { key: symbol("zz"), val: ScVal::Void }),
                _ => fields[0].key = symbol("aa"),
            }
        }
        ScVal::Map(Some(ScMap(fields.try_into().unwrap())))
    }

    /// A tuple struct, which is a vector; spoiled, one with an element too few or too many.
    fn of_tuple(&mut self, of: &ScSpecUdtStructV0, known: Option<ScVal>) -> ScVal {
        let mut fields: List<ScVal> = match known {
            Some(ScVal::Vec(Some(fields))) => fields.0.to_vec(),
            _ => of.fields.iter().map(|field| self.value(&field.type_)).collect(),
        };
        if self.one_in(2) {
            let at = self.below(fields.len());
            fields[at] = self.value(&of.fields[at].type_);
        }
        if self.spoil > 0 && self.one_in(self.spoil) {
            self.well_formed = false;
            if self.one_in(2) {
                fields.pop();
            } else {
                fields.push(ScVal::Void);
            }
        }
        list(fields)
    }

    fn field(&mut self, of: &ScSpecUdtStructFieldV0) -> ScMapEntry {
        ScMapEntry { key: symbol(&of.name.to_utf8_string_lossy()), val: self.value(&of.type_) }
    }

    fn amount(&mut self) -> Int128Parts {
        let small = [0, 1, 5, 10, 1_000, 20_000, 12_001_000, 50_000_000, -1];
        let large = [i128::MAX, i128::MIN, i128::MAX / 2, 1 << 64, i128::from(u64::MAX)];
        let amount = if self.one_in(3) { self.pick(&large) } else { self.pick(&small) };
        Int128Parts { hi: (amount >> 64) as i64, lo: amount as u64 }
    }

    /// A value of any kind, nested a little.
    fn anything(&mut self, depth: u32) -> ScVal {
        match self.below(if depth > 2 { 10 } else { 12 }) {
            0 => ScVal::Void,
            1 => ScVal::Bool(true),
            2 => ScVal::U32(self.next() as u32),
            3 => ScVal::I64(i64::MIN),
            4 => ScVal::U64(self.next()),
            5 => ScVal::I128(self.amount()),
            6 => ScVal::U128(UInt128Parts { hi: u64::MAX, lo: u64::MAX }),
            7 => symbol("nonsense"),
            8 => {
                let length = self.pick(&[0usize, 31, 32, 33, 2_000]);
                self.bytes(length)
            }
            9 => ScVal::Address(self.odd_address()),
            10 => {
                let length = self.pick(&[0usize, 1, 5, 300]);
                list((0..length).map(|_| self.anything(depth + 1)).collect())
            }
            _ => {
                let val = self.anything(depth + 1);
                let entry = ScMapEntry { key: symbol("a"), val };
                ScVal::Map(Some(ScMap(std::vec![entry].try_into().unwrap())))
            }
        }
    }

    fn odd_address(&mut self) -> ScAddress {
        let key = [self.next() as u8; 32];
        let id = self.next();
        match self.below(4) {
            0 => ScAddress::Account(AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(key)))),
            1 => ScAddress::MuxedAccount(MuxedEd25519Account { id, ed25519: Uint256(key) }),
            2 => ScAddress::LiquidityPool(PoolId(Hash(key))),
            _ => {
                ScAddress::ClaimableBalance(ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(key)))
            }
        }
    }

    fn bytes(&mut self, length: usize) -> ScVal {
        ScVal::Bytes(ScBytes(std::vec![self.next() as u8; length].try_into().unwrap()))
    }

    fn example(&mut self, name: &str) -> Option<ScVal> {
        let known = self.examples.iter().filter(|(of, _)| *of == name);
        let known: List<_> = known.map(|(_, value)| value.clone()).collect();
        if known.is_empty() { None } else { Some(self.pick(&known)) }
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.next().is_multiple_of(many)
    }

    /// SplitMix64: every seed gives another sequence, the same everywhere.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn symbol(name: &str) -> ScVal {
    ScVal::Symbol(name.try_into().unwrap())
}

fn list(items: List<ScVal>) -> ScVal {
    ScVal::Vec(Some(ScVec(items.try_into().unwrap())))
}
