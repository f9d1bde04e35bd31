//! How much memory this process may take, so that what a peer makes it keep ends with an error that names it, and not with
//! a process that was killed.

use std::fs;

/// Memory for the list of a tree: what the limit of this process's control group leaves for it, if it has one.
pub(crate) fn for_list() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit(&groups, |path| fs::read_to_string(path).ok()).map(share)
}

/// All but 40 MiB, which the program takes with its buffers, a decompressor with its window of 16 MiB and the description
/// of a large file; where that is little, half of it.
fn share(limit: u64) -> u64 {
    const ELSE: u64 = 40 << 20;
    (limit / 2).max(limit.saturating_sub(ELSE))
}

/// The limit of the groups that `/proc/self/cgroup` names (cgroups(7)), version 1 or 2.
fn limit(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    /// What version 1 says where there is none: no machine has as much.
    const NONE: u64 = 1 << 60;
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container its own group is what is mounted there, whatever the group is called outside.
        [path, ""].iter().find_map(|path| read(&format!("{mount}{path}/{file}"))?.trim().parse().ok())
    });
    limits.min().filter(|limit| *limit < NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(groups: &str, files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        assert_eq!(limit(groups, read), expected, "{groups}");
    }

    #[test]
    fn the_limit_is_found_in_both_versions_inside_and_outside_of_a_container() {
        check("0::/pod/one\n", &[("/sys/fs/cgroup/pod/one/memory.max", "1073741824\n")], Some(1 << 30));
        check("0::/pod/one\n", &[("/sys/fs/cgroup/memory.max", "67108864\n")], Some(64 << 20));
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")], None);
        let version1 = "5:cpu,cpuacct:/a\n4:memory:/a\n0::/a\n";
        check(version1, &[("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n")], Some(64 << 20));
        check(version1, &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], None);
        check("", &[], None);
    }

    #[test]
    fn a_small_limit_is_shared_and_a_large_one_is_the_lists_but_for_what_the_program_takes() {
        assert_eq!(share(64 << 20), 32 << 20);
        assert_eq!(share(1 << 30), (1 << 30) - (40 << 20));
    }
}
