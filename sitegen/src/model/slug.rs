//! Names from the archive as folder names: one slug a name, and never a way out of the folder.

/// The name itself where it is a plain folder name; else what is plain of it and a part of its digest.
pub fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_plain = !name.is_empty()
        && name.len() <= 100
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        // The name of a page beside the folders.
        && name != "index.html";
    if is_plain {
        return name.to_owned();
    }
    let kept: String = name.chars().filter(|c| plain(*c)).take(40).collect();
    let kept = kept.trim_matches(['.', '_', '-']);
    let digest = &archive::sha256_hex(name.as_bytes())[..8];
    if kept.is_empty() { format!("x-{digest}") } else { format!("{kept}-{digest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_always_a_plain_folder_name() {
        assert_eq!(slug("01_redis-scaling.v2"), "01_redis-scaling.v2");
        for name in ["", "..", "../../etc", "a/b", "<script>alert(1)</script>", ".hidden", "ü", "index.html"] {
            let slug = slug(name);
            assert!(slug.len() >= 8 && !slug.contains(['/', '<', ' ']) && !slug.starts_with('.'), "{name}: {slug}");
        }
        assert_ne!(slug("a/b"), slug("ab/"));
    }
}
