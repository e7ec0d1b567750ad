//! JSON of which nothing is lost in the reading: numbers keep their text, and a number that a
//! reader would change is found.
//!
//! Readers of JSON hold numbers as IEEE doubles (RFC 8259, section 6; RFC 8785 prescribes it). A
//! number with another value is rounded without a word, and then two documents have one canonical
//! form and one digest. The numbers that are safe are those whose text has the same decimal value
//! as the text that RFC 8785 gives their double: `0.1`, `1e3` and `2.50` are,
//! `18446744073709551615` and `0.10000000000000000001` are not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::MAX_INTEGER;

/// The most levels of arrays and objects: what the usual readers take.
const MAX_DEPTH: usize = 100;
/// The most flaws that are reported of one document.
const MAX_FLAWS: usize = 20;
/// The most members of an object that [`members`] reads.
pub const MAX_MEMBERS: usize = 1_000;
/// The most characters of a step of a path that are repeated to the sender.
const MAX_STEP: usize = 128;

/// A document with one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    /// Members in the order of RFC 8785, no white space, strings in their shortest form.
    pub text: String,
    /// Numbers that a reader would change, in the order of the document.
    pub rounded: Vec<Flaw>,
    /// The first string or name that holds U+0000, which Postgres cannot store as text.
    pub nul: Option<Flaw>,
}

/// Something about one place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The steps to the place from the root: names of members and indexes of arrays. Long names are
    /// shortened, as by [`shown_step`].
    pub path: Vec<String>,
    /// What is wrong with it.
    pub message: String,
}

impl Flaw {
    /// The place as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        pointer(&self.path)
    }
}

/// A path as a JSON pointer (RFC 6901): `/input/rows/0`. The empty path is the whole document, ``.
pub fn pointer(path: &[String]) -> String {
    path.iter().fold(String::new(), |mut text, step| {
        text.push('/');
        text.push_str(&step.replace('~', "~0").replace('/', "~1"));
        text
    })
}

/// A step of a path as it may be repeated to its sender: the name of a member may be megabytes
/// long, and many mistakes may be below it.
pub fn shown_step(step: &str) -> String {
    match step.char_indices().nth(MAX_STEP) {
        // As many characters again, so that what was shortened once stays as it is.
        Some(_) => step.chars().take(MAX_STEP - 1).chain(['…']).collect(),
        None => step.to_owned(),
    }
}

/// Reads one JSON document. Its numbers keep the text of their source.
///
/// # Errors
///
/// The first thing that is no JSON, a member that appears twice, or arrays and objects more than
/// 100 levels deep.
pub fn read(text: &str) -> Result<Exact, Flaw> {
    walk(text, Numbers::AsWritten)
}

/// The same with canonical numbers: if none is rounded, the text is that of RFC 8785. Takes little
/// more memory than the text has, whatever it holds; a tree of values may take a hundred times as
/// much.
///
/// # Errors
///
/// As [`read`].
pub fn canonical(text: &str) -> Result<Exact, Flaw> {
    walk(text, Numbers::Canonical)
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    AsWritten,
    Canonical,
}

fn walk(text: &str, numbers: Numbers) -> Result<Exact, Flaw> {
    check_grammar(text)?;
    let exact = Exact { text: String::new(), rounded: Vec::new(), nul: None };
    let mut walk = Walk { rest: text, path: Vec::new(), numbers, exact };
    let mut written = String::with_capacity(text.len());
    walk.value(&mut written)?;
    walk.exact.text = written;
    Ok(walk.exact)
}

/// The members of the object that `text` is, each with the text of its value.
///
/// # Errors
///
/// When `text` is no JSON object, a member appears twice, or there are more than [`MAX_MEMBERS`].
pub fn members(text: &str) -> Result<BTreeMap<String, &str>, Flaw> {
    check_grammar(text)?;
    let exact = Exact { text: String::new(), rounded: Vec::new(), nul: None };
    let mut walk = Walk { rest: text, path: Vec::new(), numbers: Numbers::AsWritten, exact };
    walk.skip_space();
    if !walk.rest.starts_with('{') {
        return Err(walk.flaw("is no JSON object".to_owned()));
    }

    walk.take(1);
    let mut members = BTreeMap::new();
    while !walk.ends_with(b'}') {
        if members.len() == MAX_MEMBERS {
            return Err(walk.flaw(format!("has more than {MAX_MEMBERS} members")));
        }
        let name = walk.string()?;
        walk.skip_space();
        // The colon.
        walk.take(1);
        walk.skip_space();
        let value = walk.skip_value();
        if members.insert(name.clone(), value).is_some() {
            walk.path.push(name);
            return Err(walk.flaw("appears twice".to_owned()));
        }
    }
    Ok(members)
}

/// What follows relies on the grammar: what it sees is JSON.
fn check_grammar(text: &str) -> Result<(), Flaw> {
    let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
    read.map(drop)
        .map_err(|error| Flaw { path: Vec::new(), message: format!("is not JSON: {error}") })
}

/// Whether the text of a JSON number has the value that readers give it; what is wrong if not.
///
/// # Errors
///
/// What is wrong with it, as a sentence about the number.
pub fn check_number(text: &str) -> Result<(), String> {
    if !text.contains(['.', 'e', 'E']) {
        // Without fraction and exponent the digits decide; a double would round them first.
        let digits = text.trim_start_matches('-');
        let exact = digits.parse::<u64>().is_ok_and(|number| number <= MAX_INTEGER);
        return if exact { Ok(()) } else { Err(too_large(text)) };
    }

    // The text of RFC 8785 is the shortest that gives the same double again. Two such texts can be
    // equally near to it: a double whose fraction is .25 may be written .2 or .3. RFC 8785 takes the
    // even digit and Rust's `{:e}` the other one, so that the latter cannot be asked.
    let number: f64 = text.parse().unwrap_or(f64::INFINITY);
    let Some(canonical) = canonical_double(number) else {
        return Err(format!("{} is beyond what an IEEE double holds", shown(text)));
    };
    if decimal(text) != decimal(&canonical) {
        return Err(format!(
            "{} would be read and written again as {canonical}; write it so, or as a string",
            shown(text)
        ));
    }
    // RFC 8785 writes these without an exponent, as integers that readers do not hold exactly.
    #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is a double")]
    let integral = number.fract() == 0.0 && number.abs() > MAX_INTEGER as f64;
    if integral && number.abs() < 1e21 {
        return Err(too_large(text));
    }
    Ok(())
}

/// The number as RFC 8785 writes it; `None` beyond the range of doubles.
fn canonical_number(text: &str) -> Option<String> {
    // Fifteen digits are below 2^53, and such an integer is its own canonical text. Most numbers
    // are.
    if text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    canonical_double(text.parse().ok()?)
}

/// A double as RFC 8785 writes it (section 3.2.2.3); `None` if it is not finite.
fn canonical_double(number: f64) -> Option<String> {
    number.is_finite().then(|| serde_json_canonicalizer::to_string(&number).ok()).flatten()
}

fn too_large(text: &str) -> String {
    format!("the integer {} is beyond 2^53 - 1; write it as a string", shown(text))
}

/// A number as it may be repeated to its sender: it may be a megabyte long.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    match text.get(..MOST) {
        Some(start) if text.len() > MOST => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// The value of a decimal number: its sign, its digits without zeros around them, and the power of
/// ten of its first digit.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    // Halved, so that adding the shift below cannot overflow.
    let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or(i64::MAX / 2);
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let leading = all.len() - digits.len();
    let digits = digits.trim_end_matches('0').to_owned();
    if digits.is_empty() {
        // Zero has no first digit, and RFC 8785 writes -0 as 0.
        return (false, digits, 0);
    }
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX / 4);
    let shift = length(whole) - i64::try_from(leading).unwrap_or(i64::MAX / 4);
    (negative, digits, exponent.saturating_add(shift))
}

/// Where a member of an object is in the text of all of them: its name, and its value after it.
#[derive(Debug, Clone, Copy)]
struct Member {
    name_at: u32,
    value_at: u32,
    end: u32,
}

impl Member {
    fn name<'a>(&self, texts: &'a str) -> &'a str {
        &texts[self.name_at as usize..self.value_at as usize]
    }

    fn value<'a>(&self, texts: &'a str) -> &'a str {
        &texts[self.value_at as usize..self.end as usize]
    }
}

/// A walk over text that is known to be JSON.
struct Walk<'a> {
    rest: &'a str,
    path: Vec<String>,
    numbers: Numbers,
    exact: Exact,
}

impl<'a> Walk<'a> {
    /// Writes the next value into `out`.
    fn value(&mut self, out: &mut String) -> Result<(), Flaw> {
        // The walk recurses, so depth is stack. The grammar's check has a limit too, but a higher
        // one.
        if self.path.len() > MAX_DEPTH {
            return Err(self.flaw(format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.object(out),
            Some(b'[') => self.array(out),
            Some(b'"') => {
                let text = self.string()?;
                if text.contains('\0') {
                    self.note_nul();
                }
                write_string(out, &text);
                Ok(())
            }
            _ => {
                self.word(out);
                Ok(())
            }
        }
    }

    fn object(&mut self, out: &mut String) -> Result<(), Flaw> {
        // One text for all names and values: an object of many small members would take many times
        // its size if each of them had texts of its own.
        let mut texts = String::new();
        let mut members: Vec<Member> = Vec::new();
        self.take(1);
        while !self.ends_with(b'}') {
            let name = self.string()?;
            self.skip_space();
            // The colon.
            self.take(1);

            let name_at = self.position(texts.len())?;
            texts.push_str(&name);
            let value_at = self.position(texts.len())?;
            let has_nul = name.contains('\0');
            self.path.push(name);
            if has_nul {
                self.note_nul();
            }
            self.value(&mut texts)?;
            self.path.pop();
            members.push(Member { name_at, value_at, end: self.position(texts.len())? });
        }

        // RFC 8785 sorts by UTF-16 code units.
        members.sort_unstable_by(|a, b| {
            a.name(&texts).encode_utf16().cmp(b.name(&texts).encode_utf16())
        });
        // Sorted, equal names are neighbours.
        let twice = members.windows(2).find(|pair| pair[0].name(&texts) == pair[1].name(&texts));
        if let Some(twice) = twice {
            self.path.push(twice[0].name(&texts).to_owned());
            return Err(self.flaw("appears twice".to_owned()));
        }

        out.push('{');
        for (at, member) in members.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_string(out, member.name(&texts));
            out.push(':');
            out.push_str(member.value(&texts));
        }
        out.push('}');
        Ok(())
    }

    /// A place in a text, in half the bytes.
    fn position(&self, at: usize) -> Result<u32, Flaw> {
        u32::try_from(at).map_err(|_| self.flaw("is too large to be read".to_owned()))
    }

    fn array(&mut self, out: &mut String) -> Result<(), Flaw> {
        self.take(1);
        out.push('[');
        let mut index = 0_usize;
        while !self.ends_with(b']') {
            if index > 0 {
                out.push(',');
            }
            self.path.push(index.to_string());
            self.value(out)?;
            self.path.pop();
            index += 1;
        }
        out.push(']');
        Ok(())
    }

    /// Skips to the next element, or takes the bracket that ends the array or object.
    fn ends_with(&mut self, bracket: u8) -> bool {
        self.skip_space();
        if self.rest.as_bytes().first() == Some(&b',') {
            self.take(1);
            self.skip_space();
        }
        let ended = self.rest.as_bytes().first() == Some(&bracket);
        if ended {
            self.take(1);
        }
        ended
    }

    /// The text of the next value.
    fn skip_value(&mut self) -> &'a str {
        let (mut depth, mut in_string, mut end) = (0_usize, false, 0);
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                // A quote or a backslash after a backslash belongs to the string.
                _ if in_string && end > at => {}
                b'\\' if in_string => end = at + 2,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => return self.take(at).trim_end(),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        self.take(self.rest.len()).trim_end()
    }

    /// A string, decoded. Half a surrogate pair passes the grammar, and is no text.
    fn string(&mut self) -> Result<String, Flaw> {
        let bytes = self.rest.as_bytes();
        // By bytes: neither a quote nor a backslash occurs inside a character of UTF-8.
        let mut end = 1;
        while bytes.get(end).is_some_and(|byte| *byte != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let token = self.take(end + 1);
        serde_json::from_str(token).map_err(|error| self.flaw(format!("is not text: {error}")))
    }

    /// A number, `true`, `false` or `null`, as it is.
    fn word(&mut self, out: &mut String) {
        let ends = |letter: char| matches!(letter, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let word = self.take(end);
        let is_number = word.starts_with(|letter: char| letter == '-' || letter.is_ascii_digit());
        if !is_number {
            out.push_str(word);
            return;
        }

        if self.exact.rounded.len() < MAX_FLAWS
            && let Err(message) = check_number(word)
        {
            let flaw = self.flaw(message);
            self.exact.rounded.push(flaw);
        }
        let canonical = match self.numbers {
            Numbers::Canonical => canonical_number(word),
            Numbers::AsWritten => None,
        };
        out.push_str(canonical.as_deref().unwrap_or(word));
    }

    fn note_nul(&mut self) {
        if self.exact.nul.is_none() {
            self.exact.nul = Some(self.flaw("holds the character U+0000".to_owned()));
        }
    }

    fn flaw(&self, message: String) -> Flaw {
        Flaw { path: self.path.iter().map(|step| shown_step(step)).collect(), message }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

fn write_string(out: &mut String, text: &str) {
    // The same escapes for the same text, so that the spelling of the source does not matter.
    let _ = write!(out, "{}", serde_json::Value::from(text));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_exact_if_its_shortest_text_says_the_same() {
        for exact in [
            "0",
            "-0",
            "0.0",
            "-0.0e5",
            "1",
            "-1",
            "9007199254740991",
            "-9007199254740991",
            "0.1",
            "1.5",
            "2.50",
            "1e3",
            "1E+3",
            "100e-2",
            "1e21",
            "1e22",
            "1e300",
            "5e-324",
            "1.7976931348623157e308",
            "9007199254740991.0",
            "0.30000000000000004",
            "1586902954430106.2",
            "-1586902954430106.2",
            "1586902954430106.8",
        ] {
            assert_eq!(check_number(exact), Ok(()), "{exact}");
        }
        for rounded in [
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551616",
            "9007199254740993.0",
            "9007199254740992.0",
            "9007199254740992e0",
            "90071992547409920e-1",
            "0.10000000000000000001",
            "1.00000000000000000000000001",
            "1e400",
            "-1e400",
            "1e-400",
            "1.23456789012345678901",
            "1e20",
            "9007199254740991.4",
            "0.30000000000000004441",
            "1586902954430106.3",
            "1586902954430106.25",
            "1586902954430106.7",
        ] {
            assert!(check_number(rounded).is_err(), "{rounded}");
        }
        let long = "9".repeat(100_000);
        assert!(check_number(&long).unwrap_err().len() < 200, "what is shown of it is short");
        assert!(check_number("1e99999999999999999999").is_err());
    }

    #[test]
    fn a_flaw_names_its_place_by_a_json_pointer() {
        let text = r#"{"a":[1,{"b/c~":18446744073709551616}],"d":1e400}"#;
        let exact = read(text).unwrap();
        let places: Vec<_> = exact.rounded.iter().map(Flaw::pointer).collect();
        assert_eq!(places, ["/a/1/b~1c~0", "/d"]);

        let twice = read(r#"{"a":{"b":1,"c":2,"\u0062":1}}"#).unwrap_err();
        assert_eq!((twice.pointer().as_str(), twice.message.as_str()), ("/a/b", "appears twice"));
        assert_eq!(read(r#"["x",{"k":"a\u0000"}]"#).unwrap().nul.unwrap().pointer(), "/1/k");
        assert_eq!(read(r#"{"a\u0000":1}"#).unwrap().nul.unwrap().path, ["a\0"]);
    }

    #[test]
    fn the_flaws_of_a_document_are_short_however_long_its_names_are() {
        let name = "é".repeat(1_000_000);
        let numbers = vec!["9007199254740992"; 30].join(",");
        let exact = canonical(&format!(r#"{{"{name}":[{numbers}]}}"#)).unwrap();
        assert_eq!(exact.rounded.len(), MAX_FLAWS);
        let shown = format!("{}…", "é".repeat(MAX_STEP - 1));
        for (at, flaw) in exact.rounded.iter().enumerate() {
            assert_eq!(flaw.path, [shown.clone(), at.to_string()]);
        }
        assert_eq!(shown_step(&shown), shown);
        let whole = "é".repeat(MAX_STEP);
        assert_eq!(shown_step(&whole), whole);

        for text in [
            format!(r#"{{"{name}":1,"{name}":2}}"#),
            format!(r#"{{"{name}":"\ud800"}}"#),
            format!(r#"{{"{name}":"\u0000"}}"#),
        ] {
            let flaw = match read(&text) {
                Ok(exact) => exact.nul.unwrap(),
                Err(flaw) => flaw,
            };
            assert_eq!(flaw.path, std::slice::from_ref(&shown));
        }
        assert_eq!(members(&format!(r#"{{"{name}":1,"{name}":2}}"#)).unwrap_err().path, [shown]);
    }

    #[test]
    fn an_object_of_too_many_members_is_not_taken_apart() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!(r#""{at}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(members(&object(MAX_MEMBERS)).unwrap().len(), MAX_MEMBERS);
        assert!(members(&object(MAX_MEMBERS + 1)).is_err());
        assert!(read(&object(MAX_MEMBERS + 1)).is_ok());
    }

    #[test]
    fn numbers_keep_their_text_and_everything_else_has_one_spelling() {
        let text = " { \"b\" : [ 1.50 , 1e400, true , null ] , \"a\\u0041\" : \"\\u00e9\\/\" } ";
        assert_eq!(read(text).unwrap().text, r#"{"aA":"é/","b":[1.50,1e400,true,null]}"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "01", "{'a':1}", "{} {}", "\u{feff}{}", "\"\\ud800\"", "NaN"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
        assert!(read(&deep(100)).is_ok());
        assert!(read(&deep(102)).is_err());
        assert!(read(&deep(200_000)).is_err());
        assert!(members("[]").is_err() && members(r#"{"a":1,"a":1}"#).is_err());
        let text = r#" {"a": 1.50 ,"b" : [1,{"c":"}]\"\\"}] , "d":"x,\\\"}","e":null} "#;
        let members = members(text).unwrap();
        assert_eq!(members["a"], "1.50");
        assert_eq!(members["b"], r#"[1,{"c":"}]\"\\"}]"#);
        assert_eq!((members["d"], members["e"]), (r#""x,\\\"}""#, "null"));
    }

    #[test]
    fn the_canonical_text_is_that_of_rfc_8785() {
        for text in [
            r#"{"\u20ac":"Euro","\r":"CR","\ufb33":"Dalet","1":"One","\ud83d\ude00":"Smile","\u0080":"C","\u00f6":"O"}"#,
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,-0,-0.0,10,1e0],"s":"\u0000\u001f\"\\\/\b\f\n\r\t\u007f\u2028"}"#,
            "[]",
            "{}",
            "null",
            "-1.5e10",
            r#"[{"b":[],"a":{}},true,false]"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let expected = super::super::canonical(&value).unwrap();
            assert_eq!(canonical(text).unwrap().text.as_bytes(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_the_ordinary_reader_reads(text in r#"[\[\]{}:,"a0.eE+\-1 tfrualsn\\]{0,24}"#) {
            let ordinary = serde_json::from_str::<serde_json::Value>(&text).ok();
            match read(&text) {
                Ok(exact) => {
                    let again: Option<serde_json::Value> = serde_json::from_str(&exact.text).ok();
                    // An exponent too large for a double is JSON, and not for that reader.
                    prop_assert!(again == ordinary, "{text} became {}", exact.text);
                    prop_assert_eq!(read(&exact.text).unwrap().text, exact.text);
                }
                Err(_) => prop_assert!(ordinary.is_none() || text.contains('"'), "{text}"),
            }
        }

        #[test]
        fn every_double_in_its_shortest_text_is_exact_unless_it_is_too_large_an_integer(
            number in any::<f64>().prop_filter("is finite", |number| number.is_finite()),
        ) {
            let canonical = serde_json_canonicalizer::to_string(&number).unwrap();
            // Written without an exponent.
            let too_large = (9_007_199_254_740_992.0..1e21).contains(&number.abs())
                && number.fract() == 0.0;
            prop_assert_eq!(check_number(&canonical).is_err(), too_large, "{}", canonical);
        }

        /// Doubles that lie in the middle between two shortest texts: between 2^50 and 2^51 the
        /// fraction is a multiple of a quarter, and one digit is enough to tell them apart.
        #[test]
        fn of_two_shortest_texts_only_that_with_the_even_digit_is_exact(
            whole in (1_u64 << 50)..(1 << 51),
            quarter in prop::sample::select(vec![1_u64, 3]),
            negative: bool,
        ) {
            let sign = if negative { "-" } else { "" };
            let fraction = quarter * 25;
            let number: f64 = format!("{sign}{whole}.{fraction}").parse().unwrap();
            let (even, odd) = if quarter == 1 { (2, 3) } else { (8, 7) };
            let text = |digit: u8| format!("{sign}{whole}.{digit}");

            for digit in [even, odd] {
                prop_assert_eq!(text(digit).parse::<f64>().unwrap(), number);
            }
            prop_assert_eq!(check_number(&text(even)), Ok(()));
            prop_assert_eq!(canonical_number(&text(odd)), Some(text(even)));
            let message = check_number(&text(odd)).unwrap_err();
            prop_assert!(message.contains(&text(even)), "{message}");
        }
    }
}
