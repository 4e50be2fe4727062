//! Flags that are another way to write a command: `runner --metrics ID` is `runner metrics ID`.

use std::ffi::OsString;

/// Flag → command.
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
];

/// Global options that take a value, which is no command.
const WITH_VALUE: &[&str] = &["--results"];

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
            args.splice(at..=at, std::iter::once(OsString::from(command)).chain(value));
            break;
        }
        if !argument.starts_with('-') {
            break;
        }
        at += 1 + usize::from(WITH_VALUE.contains(&argument));
    }
    args
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
            ("runner summary --metrics", "runner summary --metrics"),
            ("runner --results --metrics list", "runner --results --metrics list"),
            ("runner", "runner"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(resolve(words(given)), words(expected), "{given}");
        }
    }
}
