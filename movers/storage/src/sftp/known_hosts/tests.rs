use super::*;

const FIRST: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const SECOND: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
const OF_NIST: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";

#[track_caller]
fn judged(lines: &str, host: &str, port: u16, key: &str) -> Verdict {
    KnownHosts::parse(lines).unwrap().judge(host, port, &PublicKey::from_openssh(key).unwrap())
}

#[test]
fn a_host_is_known_by_its_name_its_patterns_or_their_hash() {
    for (names, host, port, known) in [
        ("host", "host", 22, true),
        ("host,10.0.0.1", "10.0.0.1", 22, true),
        ("Host", "hOST", 22, true),
        ("host", "host2", 22, false),
        ("[host]:2222", "host", 2222, true),
        ("[host]:2222", "host", 22, false),
        ("host", "host", 2222, true),
        ("[::1]:2222", "::1", 2222, true),
        ("*.example.com", "a.b.example.com", 22, true),
        ("*.example.com", "example.com", 22, false),
        ("h?st*", "host", 22, true),
        ("*,!host", "host", 22, false),
        ("*,!host", "other", 22, true),
        // `ssh-keygen -H` of "localhost".
        ("|1|VW6ec/sk9ZueLF59kXTcTngQCmk=|CFT0cj4SyE14y3cKhVZEm7fl7Uc=", "localhost", 22, true),
        ("|1|VW6ec/sk9ZueLF59kXTcTngQCmk=|CFT0cj4SyE14y3cKhVZEm7fl7Uc=", "localhosts", 22, false),
    ] {
        let verdict = judged(&format!("{names} {FIRST} root@host\n"), host, port, FIRST);
        assert_eq!(verdict == Verdict::Known, known, "{names} {host} {port}: {verdict:?}");
    }
}

#[test]
fn another_key_is_told_from_none_and_a_revoked_one_from_both() {
    let lines = format!("# a comment\n\nhost {FIRST}\nold {FIRST}\n@revoked * {SECOND}\n@cert-authority * {FIRST}\n");
    assert_eq!(judged(&lines, "host", 22, FIRST), Verdict::Known);
    assert_eq!(judged(&lines, "elsewhere", 22, FIRST), Verdict::Unknown);
    assert_eq!(judged(&lines, "host", 22, SECOND), Verdict::Revoked);
    assert_eq!(judged(&format!("host {FIRST}"), "host", 22, SECOND), Verdict::Changed);
    assert_eq!(judged(&format!("host {SECOND}\nhost {FIRST}"), "host", 22, FIRST), Verdict::Known);
    // A host may have keys of several kinds, of which only one is known.
    assert_eq!(judged(&format!("host {OF_NIST}"), "host", 22, SECOND), Verdict::Unknown);
}

#[test]
fn a_host_is_asked_first_for_the_kinds_of_keys_that_it_is_known_by_and_never_for_sha_1() {
    let known = KnownHosts::parse(&format!("host {OF_NIST}")).unwrap();
    let asked = known.algorithms("host", 22);
    assert_eq!(asked.first().unwrap().as_str(), "ecdsa-sha2-nistp256");
    assert_eq!(known.algorithms("elsewhere", 22).first().unwrap().as_str(), "ssh-ed25519");
    assert!(asked.len() == 6 && asked.iter().all(|algorithm| algorithm.as_str() != "ssh-rsa"), "{asked:?}");
}

#[test]
fn a_line_that_cannot_be_read_is_named_and_in_a_users_file_left_out() {
    for (lines, number) in [("", 1), ("# only this\n", 1), (FIRST, 1), ("host ssh-ed25519 AAAA", 1)] {
        let what = KnownHosts::parse(lines).unwrap_err();
        assert!(what.starts_with(&format!("line {number} ")) && what.contains("ssh-keyscan"), "{lines:?}: {what}");
    }
    let lines = format!("host {FIRST}\n\nhost 1024 35 12345\n");
    assert!(KnownHosts::parse(&lines).unwrap_err().starts_with("line 3 "));
    assert_eq!(KnownHosts::parse_leniently(&lines).0.len(), 1);
}
