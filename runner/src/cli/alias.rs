//! Other ways to write a command: `runner --metrics ID` is `runner metrics ID`, and `-001,-002` is `-001 -002`.

use std::ffi::OsString;

/// Flag → command, with its options.
const ALIASES: &[(&str, &str)] = &[
    ("--list", "list"),
    ("--list-benchmarks", "list"),
    ("--list-recipes", "list-recipes"),
    ("--summary", "summary"),
    ("--id", "summary"),
    ("--metrics", "metrics"),
    ("--report", "report"),
    ("--sweep-report", "sweep-report"),
    ("--compare", "compare"),
    ("--rerun", "rerun"),
    ("--watch", "resume"),
    ("--stop", "stop"),
    ("--collect", "collect"),
    ("--logs", "logs"),
    ("--download-logs", "logs --save logs"),
];

/// Global options that take a value, which is no command.
const WITH_VALUE: &[&str] = &["--results", "--repo"];

/// Commands of which every id is one of a list. To the parser of arguments, `-001` is a number and `-001,-002` a flag.
const WITH_IDS: &[&str] = &["report", "sweep-report", "verify"];

/// The arguments with the flag replaced, when a flag stands where a command is expected.
pub fn resolve(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let mut at = 1;
    while let Some(argument) = args.get(at).and_then(|argument| argument.to_str()) {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(OsString::from(value))),
            None => (argument, None),
        };
        if let Some((_, command)) = ALIASES.iter().find(|(alias, _)| *alias == flag) {
            // Only its first place is a command's; global options may stand before it.
            args.splice(at..=at, command.split(' ').map(OsString::from).chain(value));
            break;
        }
        if !argument.starts_with('-') {
            // A recipe where a command is expected.
            if [".yaml", ".yml"].iter().any(|ending| argument.ends_with(ending)) {
                args.insert(at, OsString::from("run"));
            }
            break;
        }
        at += 1 + usize::from(WITH_VALUE.contains(&argument));
    }
    if args.get(at).and_then(|command| command.to_str()).is_some_and(|command| WITH_IDS.contains(&command)) {
        let rest = args.split_off(at + 1);
        args.extend(rest.into_iter().flat_map(|argument| match argument.to_str() {
            Some(text) if is_list_of_ends(text) => {
                text.split(',').filter(|id| !id.is_empty()).map(OsString::from).collect()
            }
            _ => vec![argument],
        }));
    }
    args
}

/// Ends of ids with commas: `-001,-002`.
fn is_list_of_ends(text: &str) -> bool {
    let is_end =
        |id: &str| id.strip_prefix('-').is_some_and(|end| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit()));
    text.contains(',') && text.split(',').filter(|id| !id.is_empty()).all(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_in_place_of_a_command() {
        for (given, expected) in [
            ("runner --metrics -007", "runner metrics -007"),
            ("runner --results x --json --metrics=latest", "runner --results x --json metrics latest"),
            ("runner --list", "runner list"),
            ("runner --download-logs -007", "runner logs --save logs -007"),
            ("runner --results x my/recipe.yaml", "runner --results x run my/recipe.yaml"),
            ("runner run recipe.yaml", "runner run recipe.yaml"),
            ("runner summary --metrics", "runner summary --metrics"),
            ("runner --results --metrics list", "runner --results --metrics list"),
            ("runner", "runner"),
            ("runner report -001,-002 --slo p99=5ms,x", "runner report -001 -002 --slo p99=5ms,x"),
            ("runner --report -001,-002", "runner report -001 -002"),
            ("runner compare -001,-002 -003,-004", "runner compare -001,-002 -003,-004"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(resolve(words(given)), words(expected), "{given}");
        }
    }
}
