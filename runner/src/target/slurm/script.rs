//! The job scripts. Pure: the same deployment always gives the same text.
//!
//! Of a recipe only what Slurm and the module system are asked for stands in a script. Everything else is data in
//! the run folder, which the agent reads: no command, setting or variable of a recipe ever passes a shell here.

use anyhow::{Result, bail};

use crate::recipe::{Resources, target_file::SlurmTarget};

/// Which of a deployment's two jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Service,
    Client,
}

impl Role {
    pub const BOTH: [Self; 2] = [Self::Service, Self::Client];

    /// The agent that is the job.
    pub fn agent(self) -> &'static str {
        match self {
            Self::Service => "serve",
            Self::Client => "load",
        }
    }

    /// In the words of people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Client => "client",
        }
    }
}

/// A job to be written down.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    pub role: Role,
    /// The deployment, which no other has ever been called.
    pub deployment: &'a str,
    pub resources: &'a Resources,
    /// Nodes that drive the load together.
    pub client_nodes: u32,
    pub site: &'a SlurmTarget,
    /// On the cluster, absolute: the run folder and the program.
    pub folder: &'a str,
    pub program: &'a str,
}

impl Job<'_> {
    fn nodes(&self) -> u32 {
        match self.role {
            Role::Service => self.resources.nodes.unwrap_or(1),
            Role::Client => self.client_nodes,
        }
    }

    fn cpus(&self) -> Option<u32> {
        match self.role {
            Role::Service => self.resources.cpus_per_task,
            Role::Client => self.resources.cpus_per_task.or(Some(self.site.client_cpus)),
        }
    }
}

/// The name of a job, by which it is found again when its number got lost.
pub fn job_name(deployment: &str, role: Role) -> String {
    format!("{deployment}.{}", role.agent())
}

/// What Slurm is asked for, as options of `sbatch`. Errs when a value could be taken for something else.
pub fn directives(job: &Job<'_>) -> Result<Vec<String>> {
    let (resources, site) = (job.resources, job.site);
    let nodes = job.nodes();
    if job.role == Role::Service && nodes > 1 {
        bail!("`service.nodes`: a service runs on one node: leave it out");
    }
    let gpus = resources.num_gpus.unwrap_or(0) + resources.gpus_per_node.unwrap_or(0);
    let partition =
        if gpus > 0 { site.gpu_partition.as_ref().or(site.partition.as_ref()) } else { site.partition.as_ref() };
    let mut out = Vec::new();
    let mut ask = |name: &str, value: Option<String>| -> Result<()> {
        if let Some(value) = value {
            out.push(format!("--{name}={}", plain(&format!("{}.{name}", job.role.name()), &value)?));
        }
        Ok(())
    };
    let either = |own: &Option<String>, other: Option<&String>| own.clone().or_else(|| other.cloned());
    ask("job-name", Some(job_name(job.deployment, job.role)))?;
    ask("account", either(&resources.account, site.account.as_ref()))?;
    ask("qos", either(&resources.qos, site.qos.as_ref()))?;
    ask("partition", either(&resources.partition, partition))?;
    ask("reservation", site.reservation.clone())?;
    ask("time", either(&resources.time_limit, Some(&site.time_limit)))?;
    ask("nodes", Some(nodes.to_string()))?;
    ask("ntasks-per-node", Some("1".to_owned()))?;
    ask("cpus-per-task", job.cpus().map(|cpus| cpus.to_string()))?;
    ask("gpus", resources.num_gpus.filter(|gpus| *gpus > 0).map(|gpus| gpus.to_string()))?;
    ask("gpus-per-node", resources.gpus_per_node.filter(|gpus| *gpus > 0).map(|gpus| gpus.to_string()))?;
    // A whole node has all of its memory.
    ask("mem", either(&resources.memory, site.exclusive.then(|| "0".to_owned()).as_ref()))?;
    ask("constraint", resources.constraints.clone())?;
    ask("exclude", resources.exclude_nodes.clone())?;
    ask("hint", site.hint.map(|hint| hint.name().to_owned()))?;
    ask("output", Some(format!("{}/{}.log", job.folder, job.role.agent())))?;
    ask("open-mode", Some("append".to_owned()))?;
    // The agent is told a minute before the limit, and ends in order.
    ask("signal", Some("B:USR1@60".to_owned()))?;
    if site.exclusive {
        out.push("--exclusive".to_owned());
    }
    // What a job measured must not be begun again on top of it.
    out.push("--no-requeue".to_owned());
    Ok(out)
}

/// The text of the script.
pub fn script(job: &Job<'_>) -> Result<String> {
    let mut text = "#!/bin/bash -l\n".to_owned();
    for directive in directives(job)? {
        text.push_str(&format!("#SBATCH {directive}\n"));
    }
    text.push_str("umask 077\n");
    let mut words = Vec::new();
    if job.nodes() > 1 {
        // One task a node. It hands on the signals it gets, and ends all tasks when one dies.
        words.extend(["srun", "--mpi=none", "--export=ALL", "--kill-on-bad-exit=1", "--label"].map(str::to_owned));
        words.extend([format!("--nodes={}", job.nodes()), format!("--ntasks={}", job.nodes())]);
        words.push("--ntasks-per-node=1".to_owned());
        // Newer versions of Slurm's do not take it over from the job.
        words.extend(job.cpus().map(|cpus| format!("--cpus-per-task={cpus}")));
    }
    words.push(job.program.to_owned());
    words.extend(["agent", job.role.agent(), "--job"].map(str::to_owned));
    if job.client_nodes > 1 {
        words.push(format!("--nodes={}", job.client_nodes));
    }
    words.push(format!("--silence={}", job.site.silence));
    if job.role == Role::Service {
        words.push(format!("--client-patience={}", job.site.client_patience));
        if let Some(container) = job.site.container {
            words.push(format!("--container={}", container.program()));
            words.extend(job.site.volumes.iter().map(|volume| format!("--volume={volume}")));
        }
    }
    words.push(job.folder.to_owned());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect::<Result<_>>()?;
    for module in job.site.modules.iter().chain(&job.resources.modules) {
        // The agent says of one that is not there, and measures nothing with another program than the one that was meant.
        let (program, without) = (quoted(job.program)?, quoted(&format!("--without-module={module}"))?);
        let agent = quoted(job.role.agent())?;
        let name = quoted(module)?;
        let folder = quoted(job.folder)?;
        text.push_str(&format!("module load {name} || exec {program} 'agent' {agent} '--job' {without} {folder}\n"));
    }
    // The agent takes the script's place, so that Slurm's signals reach it.
    text.push_str(&format!("exec {}\n", words.join(" ")));
    Ok(text)
}

/// A value that Slurm's own reading of a directive, with its quotes, blanks and patterns, leaves as it is.
fn plain(what: &str, value: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@+=&|()[]*!~".contains(c);
    match value.chars().find(|c| !allowed(*c)) {
        None if !value.is_empty() => Ok(value.to_owned()),
        None => bail!("`{what}` is empty"),
        Some(c) => bail!("`{what}` cannot be asked of Slurm: {value:?} has a {c:?} in it"),
    }
}

/// A word for a POSIX shell: whatever it holds, it stays one word and means itself.
pub fn quoted(word: &str) -> Result<String> {
    if word.contains('\0') {
        bail!("{word:?} has a zero byte in it");
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn site() -> SlurmTarget {
        SlurmTarget {
            host: "here".into(),
            account: Some("p1".into()),
            qos: Some("short".into()),
            partition: Some("cpu".into()),
            gpu_partition: Some("gpu".into()),
            modules: vec!["env/1".into()],
            ..SlurmTarget::default()
        }
    }

    fn job<'a>(role: Role, resources: &'a Resources, site: &'a SlurmTarget) -> Job<'a> {
        Job {
            role,
            deployment: "20260101T000000-abcdef-0001",
            resources,
            client_nodes: resources.nodes.unwrap_or(1),
            site,
            folder: "/scratch/run/d",
            program: "/scratch/bin/runner",
        }
    }

    #[test]
    fn a_script_is_directives_modules_and_the_agent() {
        let resources = Resources { num_gpus: Some(2), time_limit: Some("30".into()), ..Resources::default() };
        let text = script(&job(Role::Service, &resources, &site())).expect("a script");
        for line in [
            "#SBATCH --job-name=20260101T000000-abcdef-0001.serve",
            "#SBATCH --partition=gpu",
            "#SBATCH --gpus=2",
            "#SBATCH --time=30",
            "#SBATCH --mem=0",
            "#SBATCH --no-requeue",
            "module load 'env/1' || exec '/scratch/bin/runner' 'agent' 'serve' '--job' '--without-module=env/1' '/scratch/run/d'",
            "exec '/scratch/bin/runner' 'agent' 'serve' '--job' '--silence=120' '--client-patience=300' '/scratch/run/d'",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} is not in\n{text}");
        }
        let own = Resources { partition: Some("large".into()), account: Some("p2".into()), ..Resources::default() };
        let text = script(&job(Role::Client, &own, &site())).expect("a script");
        for line in ["#SBATCH --partition=large", "#SBATCH --account=p2", "#SBATCH --cpus-per-task=8"] {
            assert!(text.lines().any(|given| given == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn several_client_nodes_are_tasks_of_one_step() {
        let two = Resources { nodes: Some(2), cpus_per_task: Some(4), ..Resources::default() };
        let text = script(&job(Role::Client, &two, &site())).expect("a script");
        assert!(text.contains("#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n"), "{text}");
        let last = text.lines().last().expect("lines").replace('\'', "");
        assert!(
            last.starts_with("exec srun ")
                && last.contains(" --cpus-per-task=4 /scratch/bin/runner agent load --job --nodes=2 "),
            "{last}"
        );
        let service = job(Role::Service, &two, &site()).resources.clone();
        assert!(script(&job(Role::Service, &service, &site())).is_err());
        let service = Resources::default();
        let text = script(&Job { client_nodes: 2, ..job(Role::Service, &service, &site()) }).expect("a script");
        assert!(text.contains("#SBATCH --nodes=1\n") && text.contains("'serve' '--job' '--nodes=2'"), "{text}");
    }

    #[test]
    fn what_slurm_could_read_otherwise_is_refused() {
        for value in ["a b", "a\n#SBATCH --uid=0", "\"a\"", "$(id)", "a;b", "ä", "a\\", "%j", "a#b", "'"] {
            let resources = Resources { constraints: Some(value.into()), ..Resources::default() };
            assert!(directives(&job(Role::Client, &resources, &site())).is_err(), "{value:?}");
        }
        let resources = Resources { constraints: Some("[rack1*2&rack2*4]|gpu".into()), ..Resources::default() };
        let given = directives(&job(Role::Client, &resources, &site())).expect("fine");
        assert!(given.contains(&"--constraint=[rack1*2&rack2*4]|gpu".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// A real shell gives a word back as it was.
        #[test]
        fn a_quoted_word_means_itself(word in "(\\PC|[\n\t'\"$`\\\\;&|<>(){}*?~#!-]){0,40}") {
            let script = format!("printf %s {}", quoted(&word).expect("no zero byte"));
            let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }

        /// A module's name reaches `module` as one word, and nothing else of the script changes.
        #[test]
        fn a_module_is_data(name in "(\\PC|[\n'\"$`\\\\;&|<>-]){1,30}") {
            let resources = Resources { modules: vec![name.clone()], ..Resources::default() };
            let site = SlurmTarget { modules: Vec::new(), ..site() };
            let text = script(&job(Role::Client, &resources, &site)).expect("a script");
            let body: String = text.split_inclusive('\n').filter(|line| !line.starts_with("#SBATCH")).collect();
            let traced = format!("module() {{ printf '%s\\0' \"$@\"; }}\nexec() {{ printf 'exec %s\\0' \"$1\"; }}\n{body}");
            let output = Command::new("bash").args(["-c", &traced]).output().expect("bash runs");
            let expect = format!("load\0{name}\0exec /scratch/bin/runner\0");
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), expect);
            // One that cannot be loaded is told to the agent, which takes the script's place then.
            let failing = format!("module() {{ return 1; }}\nexec() {{ printf '%s\\0' \"$@\"; exit; }}\n{body}");
            let output = Command::new("bash").args(["-c", &failing]).output().expect("bash runs");
            let expect =
                format!("/scratch/bin/runner\0agent\0load\0--job\0--without-module={name}\0/scratch/run/d\0");
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), expect);
        }

        /// From a recipe to its script, in every field that a job is asked for with: refused, or one option that is as it was
        /// given; and nothing else of the script changes.
        #[test]
        fn text_in_any_field_is_one_option_or_refused(text in "(\\PC|[\n\t '\"$`\\\\;&|<>(){}#%-]|--wrap=id|#SBATCH){1,30}", field in 0_usize..8) {
            let name = ["partition", "account", "qos", "memory", "time_limit", "constraints", "exclude_nodes", "modules"][field];
            let value = if name == "modules" { serde_json::json!([text]) } else { serde_json::json!(text) };
            let resources: Resources = serde_json::from_value(serde_json::json!({name: value})).expect("resources");
            let site = site();
            let without = directives(&job(Role::Service, &Resources::default(), &site)).expect("directives");
            let Ok(script) = script(&job(Role::Service, &resources, &site)) else { return Ok(()) };
            // As sbatch reads it: up to the first line that is no comment.
            let head: Vec<&str> = script.lines().take_while(|line| line.starts_with('#')).collect();
            let asked: Vec<&str> = head.iter().filter_map(|line| line.strip_prefix("#SBATCH ")).collect();
            prop_assert_eq!(head.len(), asked.len() + 1);
            prop_assert!(asked.iter().all(|option| !option.contains(char::is_whitespace)));
            let other: Vec<&&str> = asked.iter().filter(|option| !without.iter().any(|known| known == **option)).collect();
            match other[..] {
                [] => {}
                [option] => prop_assert!(name != "modules" && option.ends_with(&format!("={text}")), "{option}"),
                _ => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
