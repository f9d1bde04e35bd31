use super::*;
use proptest::prelude::*;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

#[track_caller]
fn parse(repository: &str, pairs: &[(&str, &str)]) -> Location {
    Location::parse(repository, &settings(pairs)).unwrap()
}

/// What the error must name.
#[track_caller]
fn refused(repository: &str, pairs: &[(&str, &str)], key: &str, part: &str) {
    let error = Location::parse(repository, &settings(pairs)).unwrap_err();
    let text = error.to_string();
    assert!(error.key == key && text.starts_with(key) && text.contains(part), "{repository:?}: {text}");
    assert!(!text.contains("hush") && !format!("{error:?}").contains("hush"), "{text}");
}

const KEY: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")];

#[test]
fn folders_are_written_as_restic_takes_them() {
    for (repository, path) in [
        ("/mnt/repo", "/mnt/repo"),
        ("local:/mnt/repo", "/mnt/repo"),
        ("local:repo:1", "repo:1"),
        ("repo", "repo"),
        ("./a:b", "./a:b"),
        ("/mnt/repo\n", "/mnt/repo"),
    ] {
        assert_eq!(parse(repository, &[]), Location::Folder(path.into()), "{repository:?}");
    }
}

#[test]
fn s3_is_written_with_or_without_a_scheme() {
    for (repository, endpoint, bucket, prefix) in [
        ("s3:https://host/bucket", "https://host/", "bucket", ""),
        ("s3:http://host:9000/bucket/a/b/", "http://host:9000/", "bucket", "a/b"),
        ("s3:host:9000/bucket//a/./b", "https://host:9000/", "bucket", "a/b"),
        ("s3://host/bucket/a", "https://host/", "bucket", "a"),
        ("s3:s3.eu-west-1.amazonaws.com/my.bucket", "https://s3.eu-west-1.amazonaws.com/", "my.bucket", ""),
        ("s3:https://[::1]:9000/bucket/a%20b", "https://[::1]:9000/", "bucket", "a b"),
    ] {
        match parse(repository, KEY) {
            Location::S3(s3) => {
                let found = (s3.endpoint.as_str(), s3.bucket.as_str(), s3.prefix.as_str());
                assert_eq!(found, (endpoint, bucket, prefix), "{repository}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn s3_has_a_key_or_what_its_pod_was_given() {
    let credentials = |pairs: &[(&str, &str)]| match parse("s3:h/b", pairs) {
        Location::S3(s3) => (s3.credentials, s3.region, s3.role),
        other => panic!("{other:?}"),
    };
    let (key, region, role) = credentials(&[KEY, &[("AWS_DEFAULT_REGION", "eu-west-1\n")]].concat());
    let hush = || Hidden("hush".to_owned());
    assert_eq!(key, S3Credentials::Key { id: "AKIA".to_owned(), secret: hush(), token: None });
    assert_eq!((region.as_deref(), role), (Some("eu-west-1"), None));
    let ambient = |profile: Option<&str>| S3Credentials::Ambient { profile: profile.map(str::to_owned) };
    assert_eq!(credentials(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]).0, ambient(None));
    assert_eq!(credentials(&[("AWS_PROFILE", "other")]).0, ambient(Some("other")));
    let (_, _, role) =
        credentials(&[("RESTIC_AWS_ASSUME_ROLE_ARN", "arn:x"), ("RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID", "7")]);
    let expected = AssumedRole { arn: "arn:x".to_owned(), session: None, external_id: Some("7".to_owned()) };
    assert_eq!(role, Some(expected));
}

#[test]
fn rest_has_its_user_in_the_address_or_beside_it() {
    let both: &[(&str, &str)] = &[("RESTIC_REST_USERNAME", "u"), ("RESTIC_REST_PASSWORD", "hush")];
    for (repository, pairs, url, user) in [
        ("rest:http://host:8000", &[][..], "http://host:8000/", None),
        ("rest:https://host/a/b", both, "https://host/a/b/", Some(("u", "hush"))),
        ("rest:https://me:p%40ss@host/a/", both, "https://host/a/", Some(("me", "p@ss"))),
        ("rest:https://me@host/", both, "https://host/", Some(("me", ""))),
    ] {
        match parse(repository, pairs) {
            Location::Rest(rest) => {
                let found = rest.user.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
                assert_eq!((rest.url.as_str(), found), (url, user), "{repository}");
                assert!(!format!("{rest:?}").contains("hush") && !format!("{rest:?}").contains("p@ss"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn azure_google_and_backblaze_are_a_container_and_a_path() {
    let account = ("AZURE_ACCOUNT_NAME", "acc");
    match parse("azure:box:/a/b", &[account, ("AZURE_ACCOUNT_KEY", "aHVzaA==")]) {
        Location::Azure(Azure { endpoint, account, container, prefix, credentials }) => {
            let found = (endpoint.as_str(), account.as_str(), container.as_str(), prefix.as_str());
            assert_eq!(found, ("https://acc.blob.core.windows.net/", "acc", "box", "a/b"));
            assert_eq!(credentials, AzureCredentials::Key(Hidden("aHVzaA==".to_owned())));
        }
        other => panic!("{other:?}"),
    }
    let china = [account, ("AZURE_ENDPOINT_SUFFIX", "core.chinacloudapi.cn"), ("AZURE_ACCOUNT_SAS", "?sig=hush")];
    match parse("azure:box:/", &china) {
        Location::Azure(azure) => {
            assert_eq!(azure.endpoint.host_str(), Some("acc.blob.core.chinacloudapi.cn"));
            assert_eq!(azure.credentials, AzureCredentials::Signature(Hidden("sig=hush".to_owned())));
            assert!(!format!("{azure:?}").contains("hush"));
        }
        other => panic!("{other:?}"),
    }
    match parse("b2:box:a/b", &[("B2_ACCOUNT_ID", "i"), ("B2_ACCOUNT_KEY", "hush")]) {
        Location::B2(b2) => assert_eq!((b2.bucket.as_str(), b2.prefix.as_str(), b2.id.as_str()), ("box", "a/b", "i")),
        other => panic!("{other:?}"),
    }
    for (value, credentials) in [
        (
            "{\"type\":\"service_account\"}",
            GcsCredentials::Content(Hidden("{\"type\":\"service_account\"}".to_owned())),
        ),
        ("/credentials/gcs.json", GcsCredentials::File("/credentials/gcs.json".into())),
        ("", GcsCredentials::Ambient),
    ] {
        let google = [("GOOGLE_PROJECT_ID", "7"), ("GOOGLE_APPLICATION_CREDENTIALS", value)];
        let expected = Gcs { endpoint: None, bucket: "box".to_owned(), prefix: "a".to_owned(), credentials };
        assert_eq!(parse("gs:box:/a", &google), Location::Gcs(expected));
    }
}

#[test]
fn remotes_of_rclone_are_what_they_stand_for() {
    let remote = [
        ("RCLONE_CONFIG_MINE_TYPE", "s3"),
        ("RCLONE_CONFIG_MINE_PROVIDER", "Minio"),
        ("RCLONE_CONFIG_MINE_ENDPOINT", "http://minio:9000"),
        ("RCLONE_CONFIG_MINE_ACCESS_KEY_ID", "AKIA"),
        ("RCLONE_CONFIG_MINE_SECRET_ACCESS_KEY", "hush"),
    ];
    assert_eq!(parse("rclone:mine:bucket/a", &remote), parse("s3:http://minio:9000/bucket/a", KEY));
    assert_eq!(
        parse("rclone:disk:/mnt/repo", &[("RCLONE_CONFIG_DISK_TYPE", "local")]),
        Location::Folder("/mnt/repo".into())
    );
    let azure = [
        ("RCLONE_CONFIG_A_TYPE", "azureblob"),
        ("RCLONE_CONFIG_A_ACCOUNT", "acc"),
        ("RCLONE_CONFIG_A_KEY", "aHVzaA=="),
    ];
    let own = [("AZURE_ACCOUNT_NAME", "acc"), ("AZURE_ACCOUNT_KEY", "aHVzaA==")];
    assert_eq!(parse("rclone:a:box/p", &azure), parse("azure:box:/p", &own));
    refused("rclone:mine:b", &remote[..4], "RCLONE_CONFIG_MINE_SECRET_ACCESS_KEY", "is missing");
    refused("rclone:mine:b", &[], "RCLONE_CONFIG_MINE_TYPE", "is missing");
    refused("rclone:d:b", &[("RCLONE_CONFIG_D_TYPE", "drive")], "RCLONE_CONFIG_D_TYPE", "rclone serve restic");
    refused("rclone:mine", &[], REPOSITORY, "rclone:REMOTE:PATH");
    refused("rclone::s3,env_auth:b", &[], REPOSITORY, "RCLONE_CONFIG_NAME_TYPE");
}

#[test]
fn what_cannot_be_used_is_named_with_what_to_write_instead() {
    let account: &[(&str, &str)] = &[("AZURE_ACCOUNT_NAME", "acc")];
    for (repository, pairs, key, part) in [
        ("", &[][..], REPOSITORY, "is empty"),
        ("\n", &[], REPOSITORY, "is empty"),
        ("/mnt/\u{7}repo", &[], REPOSITORY, "control character"),
        ("local:", &[], REPOSITORY, "local:/PATH"),
        ("s4:https://host/bucket", &[], REPOSITORY, "s4: is no kind of store"),
        ("https://host/bucket", &[], REPOSITORY, "https: is no kind of store"),
        ("s3:", &[], REPOSITORY, "s3:https://HOST"),
        ("s3:https://", &[], REPOSITORY, "s3:https://HOST"),
        ("s3:bucket", &[], REPOSITORY, "has no bucket"),
        ("s3:https://host", &[], REPOSITORY, "has no bucket"),
        ("s3:host:99999/bucket", &[], REPOSITORY, "port"),
        ("s3:host/buck et", &[], REPOSITORY, "is no name of a bucket"),
        ("s3:host/bucket/../a", &[], REPOSITORY, "has .. in its path"),
        ("s3:host/bucket?versioned", &[], REPOSITORY, "has a ? or #"),
        ("s3:https://AKIA:hush@host/bucket", &[], REPOSITORY, "AWS_SECRET_ACCESS_KEY"),
        ("s3:h/b", &KEY[..1], "AWS_SECRET_ACCESS_KEY", "is missing; AWS_ACCESS_KEY_ID needs it"),
        ("s3:h/b", &KEY[1..], "AWS_ACCESS_KEY_ID", "is missing; AWS_SECRET_ACCESS_KEY needs it"),
        ("s3:h/b", &[("AWS_SESSION_TOKEN", "hush")], "AWS_ACCESS_KEY_ID", "is missing"),
        ("s3:h/b", &[("AWS_ACCESS_KEY_ID", " AKIA")], "AWS_ACCESS_KEY_ID", "blanks"),
        (
            "s3:h/b",
            &[("RESTIC_AWS_ASSUME_ROLE_ARN", "a"), ("RESTIC_AWS_ASSUME_ROLE_POLICY", "{}")],
            "RESTIC_AWS_ASSUME_ROLE_POLICY",
            "remove it",
        ),
        ("rest:host:8000", &[], REPOSITORY, "rest:https://HOST"),
        ("rest:http+unix:///tmp/s:/repo/", &[], REPOSITORY, "sockets"),
        ("rest:https://u:hush@/", &[], REPOSITORY, "rest:https://HOST"),
        ("rest:https://h/?a", &[], REPOSITORY, "has a ? or #"),
        ("rest:https://h/", &[("RESTIC_REST_USERNAME", "u")], "RESTIC_REST_PASSWORD", "is missing"),
        ("azure:box", account, REPOSITORY, "azure:CONTAINER:/PATH"),
        ("azure::/", account, REPOSITORY, "has no bucket"),
        ("azure:box:/", &[], "AZURE_ACCOUNT_NAME", "is missing"),
        ("azure:box:/", &[("AZURE_ACCOUNT_NAME", "a/b")], "AZURE_ACCOUNT_NAME", "the account's name alone"),
        (
            "azure:box:/",
            &[("AZURE_ACCOUNT_NAME", "acc"), ("AZURE_ACCOUNT_KEY", "hush!")],
            "AZURE_ACCOUNT_KEY",
            "is not base64",
        ),
        (
            "azure:box:/",
            &[("AZURE_ACCOUNT_NAME", "acc"), ("AZURE_TENANT_ID", "t")],
            "AZURE_TENANT_ID",
            "workload identity",
        ),
        ("gs:box", &[], REPOSITORY, "gs:BUCKET:/PATH"),
        ("gs:box:/../a", &[], REPOSITORY, ".."),
        ("gs:box:/", &[("GOOGLE_APPLICATION_CREDENTIALS", "{hush")], "GOOGLE_APPLICATION_CREDENTIALS", "is not JSON"),
        ("b2:", &[], REPOSITORY, "b2:BUCKET:PATH"),
        ("b2:bucket:path", &[], "B2_ACCOUNT_ID", "is missing"),
        ("b2:bucket:path", &[("B2_ACCOUNT_ID", "i")], "B2_ACCOUNT_KEY", "is missing; B2_ACCOUNT_ID needs it"),
        ("swift:box", &[], REPOSITORY, "swift:CONTAINER:/PATH"),
        ("swift:box:path", &[], REPOSITORY, "swift:CONTAINER:/PATH"),
        ("swift::/path", &[], REPOSITORY, "has no container"),
        ("swift:box:/path", &[], "OS_AUTH_URL", "is missing"),
        ("swift:box:/path", &[("OS_AUTH_URL", "https://h:5000/")], "OS_AUTH_URL", "has no version"),
        ("swift:box:/path", &[("OS_AUTH_URL", "https://u:hush@h/v3")], "OS_AUTH_URL", "is no address"),
        ("swift:box:/path", &[("OS_AUTH_URL", "https://h/v3")], "OS_USERNAME", "is missing; OS_AUTH_URL needs it"),
        ("swift:box:/path", &[("OS_AUTH_URL", "https://h/v3"), ("OS_USER_ID", "u")], "OS_PASSWORD", "is missing"),
        ("swift:box:/path", &[("ST_AUTH", "https://h/v1.0"), ("ST_USER", "u")], "ST_KEY", "is missing"),
        ("swift:box:/path", &[("OS_AUTH_TOKEN", "hush")], "OS_STORAGE_URL", "is missing; OS_AUTH_TOKEN needs it"),
        ("sftp:user@host", &[], REPOSITORY, "sftp:USER@HOST:/PATH"),
        ("sftp::/srv", &[], REPOSITORY, "has no host"),
        ("sftp:me@-oProxyCommand=x:/srv", &[], REPOSITORY, "has no host"),
        ("sftp://me@host", &[], REPOSITORY, "has no path"),
        ("sftp://me@host:70000/srv", &[], REPOSITORY, "port"),
        ("sftp://me@host/srv?a", &[], REPOSITORY, "has a ? or #"),
        ("sftp://me:hush@host/srv", &[], REPOSITORY, "SFTP_PASSWORD"),
        ("sftp:me@host:~/srv", &[], REPOSITORY, "begins where a login begins"),
        ("sftp:host:/srv", &[], REPOSITORY, "has no user"),
        ("sftp:me@host:srv", &[], "SFTP_PRIVATE_KEY", "and SFTP_PASSWORD are missing"),
        ("sftp:me@host:srv", &[("SFTP_PASSWORD", "hush")], "SFTP_KNOWN_HOSTS", "ssh-keyscan"),
        ("sftp:me@host:srv", &[("SFTP_PRIVATE_KEY", "-----BEGIN hush")], "SFTP_PRIVATE_KEY", "from BEGIN to END"),
        (
            "sftp:me@host:srv",
            &[("SFTP_KNOWN_HOSTS", "host ssh-ed25519 hush")],
            "SFTP_KNOWN_HOSTS",
            "line 1 is not HOST TYPE KEY",
        ),
    ] {
        refused(repository, pairs, key, part);
    }
}

#[test]
fn sftp_is_written_as_restic_takes_it() {
    for (repository, user, host, port, path) in [
        ("sftp:user@host:/srv/repo", "user", "host", 22, "/srv/repo"),
        ("sftp:user@host:repo/", "user", "host", 22, "repo"),
        ("sftp:user@domain@host:/a/../b//c/.", "user@domain", "host", 22, "/b/c"),
        ("sftp:host:", "me", "host", 22, "."),
        ("sftp://user@host/repo", "user", "host", 22, "repo"),
        ("sftp://user@host:2222//srv/a%20b", "user", "host", 2222, "/srv/a b"),
        ("sftp://user%40domain@[::1]:2222//srv", "user@domain", "::1", 2222, "/srv"),
        ("sftp://host/", "me", "host", 22, "."),
    ] {
        match parse(repository, &[("HOME", "/home/me"), ("USER", "me")]) {
            Location::Sftp(sftp) => {
                let found = (sftp.user.as_str(), sftp.host.as_str(), sftp.port, sftp.path.as_str());
                assert_eq!(found, (user, host, port, path), "{repository}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn swift_is_logged_in_to_as_its_address_says() {
    let address = ("OS_AUTH_URL", "https://h:5000/v3/");
    let of_default = r#""scope":{"project":{"domain":{"name":"Default"},"name":"p"}}"#;
    let of_user = r#""user":{"domain":{"id":"d"},"name":"u","password":"hush"}"#;
    let named = r#"{"auth":{"identity":{"application_credential":{"name":"n","secret":"hush","user":{"id":"u"}},"methods":["application_credential"]}}}"#;
    for (pairs, at, part) in [
        (
            &[address, ("OS_USERNAME", "u"), ("OS_PASSWORD", "hush"), ("OS_PROJECT_NAME", "p")][..],
            "auth/tokens",
            of_default,
        ),
        (&[address, ("OS_USERNAME", "u"), ("OS_PASSWORD", "hush"), ("OS_USER_DOMAIN_ID", "d")], "auth/tokens", of_user),
        (
            &[address, ("OS_USER_ID", "u"), ("OS_PASSWORD", "hush"), ("OS_TRUST_ID", "t")],
            "auth/tokens",
            r#""scope":{"OS-TRUST:trust":{"id":"t"}}"#,
        ),
        (
            &[address, ("OS_APPLICATION_CREDENTIAL_ID", "i"), ("OS_APPLICATION_CREDENTIAL_SECRET", "hush")],
            "auth/tokens",
            r#""application_credential":{"id":"i","secret":"hush"}"#,
        ),
        (
            &[
                address,
                ("OS_USER_ID", "u"),
                ("OS_APPLICATION_CREDENTIAL_NAME", "n"),
                ("OS_APPLICATION_CREDENTIAL_SECRET", "hush"),
            ],
            "auth/tokens",
            named,
        ),
        (
            &[
                ("OS_AUTH_URL", "https://h:5000/v2.0"),
                ("OS_USERNAME", "u"),
                ("OS_PASSWORD", "hush"),
                ("OS_TENANT_NAME", "t"),
            ],
            "/v2.0/tokens",
            r#"{"auth":{"passwordCredentials":{"password":"hush","username":"u"},"tenantName":"t"}}"#,
        ),
    ] {
        let Location::Swift(swift) = parse("swift:box:/a//b/", pairs) else { panic!("{pairs:?}") };
        assert_eq!((swift.container.as_str(), swift.prefix.as_str()), ("box", "a/b"));
        let (SwiftLogin::V2(url, request) | SwiftLogin::V3(url, request)) = swift.login else { panic!("{pairs:?}") };
        assert!(url.path().ends_with(at) && request.expose().contains(part), "{url} {}", request.expose());
    }
    let pairs = [("ST_AUTH", "https://h/auth/v1.0"), ("ST_USER", "u"), ("ST_KEY", "hush")];
    let Location::Swift(swift) = parse("swift:box:/", &pairs) else { panic!() };
    assert!(matches!(swift.login, SwiftLogin::V1(..)) && swift.prefix.is_empty());
}

#[test]
fn keys_that_nobody_reads_are_known() {
    let settings = settings(&[
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("RESTIC_PASSWORD", "hush"),
        ("AZURE_ACCOUNT_NAME", "acc"),
        ("AWS_PROFLE", "x"),
    ]);
    Location::parse("s3:h/b", &settings).unwrap();
    assert_eq!(settings.unused(), ["AWS_PROFLE", "AZURE_ACCOUNT_NAME"]);
    assert!(!format!("{settings:?}").contains("hush"));
}

proptest! {
    #[test]
    fn any_text_is_a_location_or_an_error_that_names_a_key(repository in "(s3:|rest:|azure:|b2:|gs:|sftp:|swift:|rclone:|local:|)((https?:)?//)?\\PC{0,40}") {
        if let Err(error) = Location::parse(&repository, &Settings::default()) {
            prop_assert!(!error.key.is_empty());
        }
    }
}
