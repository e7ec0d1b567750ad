//! Path templates of a catalogue or gate map, such as `data/x/seed={seed}/part-*.parquet`.

use seal::facts::Pins;

/// The pins a template may name.
const PINS: [&str; 5] = ["manifest_fingerprint", "parameter_hash", "seed", "scenario_id", "run_id"];

/// A path with `{name}` in place of what a run or a part decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// A piece of a template's segment.
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

impl Template {
    /// Reads a template; white space around it does not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.strip_suffix('/').unwrap_or(text);
        if plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("{text:?} is no relative path"));
        }
        if pieces(text).is_none() {
            return Err(format!("{text:?} has an open or empty brace"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it covers a folder and everything below it.
    pub fn is_folder(&self) -> bool {
        self.0.ends_with('/') || self.0.ends_with("/**")
    }

    /// Whether only pins are in braces, so that a run decides the whole path.
    pub fn is_decided_by_pins(&self) -> bool {
        let named = |piece: &Piece<'_>| match piece {
            Piece::Text(text) => !text.contains('*'),
            Piece::Name(name) => PINS.contains(name),
        };
        pieces(&self.0).is_some_and(|pieces| pieces.iter().all(named))
    }

    /// The path it gives for a run, without a slash at its end; `None` if a pin's text would change
    /// the path's shape, or a name is not a pin's.
    pub fn render(&self, pins: &Pins) -> Option<String> {
        let mut path = String::new();
        for piece in pieces(self.0.strip_suffix('/').unwrap_or(&self.0))? {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Name(name) => path.push_str(&pin(name, pins)?),
            }
        }
        seal::path::check(&path).is_ok().then_some(path)
    }

    /// Whether `path` may be an output of this template in this run. Pins have to be the run's; any
    /// other name, and `*`, matches anything within one part of the path. A template that ends
    /// in `/` or `/**` covers the folder and everything below it.
    pub fn covers(&self, path: &str, pins: &Pins) -> bool {
        let deep = self.0.strip_suffix("/**").or_else(|| self.0.strip_suffix('/'));
        let expected: Vec<&str> = deep.unwrap_or(&self.0).split('/').collect();
        let found: Vec<&str> = path.split('/').collect();
        if found.len() < expected.len() || (deep.is_none() && found.len() > expected.len()) {
            return false;
        }
        let matches = |(expected, found): (&&str, &&str)| {
            glob(expected, pins).is_some_and(|glob| fits(&glob, found))
        };
        expected.iter().zip(&found).all(matches)
    }
}

/// The value of a pin; `None` for another name, or where it could be more than one part of a path.
fn pin(name: &str, pins: &Pins) -> Option<String> {
    let value = match name {
        "manifest_fingerprint" => pins.manifest_fingerprint.to_string(),
        "parameter_hash" => pins.parameter_hash.to_string(),
        "seed" => pins.seed.to_string(),
        "scenario_id" => pins.scenario_id.clone(),
        "run_id" => pins.run_id.to_string(),
        _ => return None,
    };
    (!value.contains('/')).then_some(value)
}

fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, left) = after.split_once('}')?;
        if before.contains('}') || name.is_empty() || name.contains(['{', '/']) {
            return None;
        }
        pieces.extend([Piece::Text(before), Piece::Name(name)]);
        rest = left;
    }
    if rest.contains('}') {
        return None;
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

/// A segment as texts between wildcards; `None` if a pin does not fit into one.
fn glob(segment: &str, pins: &Pins) -> Option<Vec<String>> {
    let mut texts = vec![String::new()];
    for piece in pieces(segment)? {
        match piece {
            Piece::Name(name) if PINS.contains(&name) => {
                texts.last_mut()?.push_str(&pin(name, pins)?);
            }
            Piece::Name(_) => texts.push(String::new()),
            Piece::Text(text) => {
                let mut parts = text.split('*');
                texts.last_mut()?.push_str(parts.next()?);
                texts.extend(parts.map(str::to_owned));
            }
        }
    }
    Some(texts)
}

/// Whether `name` consists of `texts`, in order, with at least one character between any two.
fn fits(texts: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = texts else {
        return texts.first().is_some_and(|only| only == name);
    };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
    for text in middle.iter().filter(|text| !text.is_empty()) {
        // A wildcard matches one character at least, so the search begins behind the first.
        let Some(start) = rest.char_indices().nth(1).map(|(at, _)| at) else { return false };
        let Some(at) = rest[start..].find(text.as_str()) else { return false };
        rest = &rest[start + at + text.len()..];
    }
    // Longer than the last text, since the last wildcard needs its character too.
    rest.len() > last.len() && rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::digest::Digest;

    use super::*;

    fn pins() -> Pins {
        Pins {
            manifest_fingerprint: Digest::of(b"f"),
            parameter_hash: Digest::of(b"p"),
            seed: 7,
            scenario_id: "base".to_owned(),
            run_id: "ab".repeat(16).parse().unwrap(),
        }
    }

    fn covers(template: &str, path: &str) -> bool {
        Template::parse(template).unwrap().covers(path, &pins())
    }

    #[test]
    fn pins_are_the_runs_and_other_names_stand_for_one_part() {
        let template = "data/seed={seed}/day={utc_day}/part-*.parquet\n";
        for path in
            ["data/seed=7/day=2026-01-01/part-00.parquet", "data/seed=7/day=x/part-*.parquet"]
        {
            assert!(covers(template, path), "{path}");
        }
        for path in [
            "data/seed=8/day=x/part-0.parquet",
            "data/seed=77/day=x/part-0.parquet",
            "data/seed=7/day=/part-0.parquet",
            "data/seed=7/day=x/part-.parquet",
            "data/seed=7/day=x/y/part-0.parquet",
            "data/seed=7/part-0.parquet",
            "data/seed=7/day=x/part-0.parquet.gz",
            "x/data/seed=7/day=x/part-0.parquet",
        ] {
            assert!(!covers(template, path), "{path}");
        }
    }

    #[test]
    fn a_folder_covers_what_lies_below_it() {
        for template in ["data/x/", "data/x/**"] {
            assert!(covers(template, "data/x/a/b") && covers(template, "data/x/part-*"));
            assert!(!covers(template, "data/y/a") && !covers(template, "data"));
        }
        assert!(!covers("data/x", "data/x/a"));
    }

    #[test]
    fn a_rendered_path_keeps_its_shape() {
        let template = Template::parse("data/s={scenario_id}/f={manifest_fingerprint}/").unwrap();
        let rendered = template.render(&pins()).unwrap();
        assert_eq!(rendered, format!("data/s=base/f={}", Digest::of(b"f")));
        for scenario_id in ["../../x", "a/b", "\n"] {
            let pins = Pins { scenario_id: scenario_id.to_owned(), ..pins() };
            assert_eq!(template.render(&pins), None, "{scenario_id}");
        }
        let open = Template::parse("data/{utc_day}/x").unwrap();
        assert!(!open.is_decided_by_pins() && open.render(&pins()).is_none());
        assert!(template.is_decided_by_pins());
    }

    proptest! {
        /// A template covers what it renders; whatever it renders is a path below the pack.
        #[test]
        fn any_text_is_a_template_or_refused(
            text in "[a/{}*._=]{0,12}|(a/)?(seed|\\{seed\\}|\\{scenario_id\\}){1,2}(/\\{day\\})?",
            path in "[a/*._=7]{0,12}",
        ) {
            if let Ok(template) = Template::parse(&text) {
                template.covers(&path, &pins());
                if let Some(rendered) = template.render(&pins()) {
                    prop_assert!(seal::path::check(&rendered).is_ok());
                    prop_assert!(template.covers(&rendered, &pins()), "{} in {}", rendered, text);
                }
            }
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "/", "/data/x", "../x", "a//b", "a//", "a/{b", "a/b}", "a/{}", "a/{b/c}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
