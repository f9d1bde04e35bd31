//! The rows of the table: an attribute or a kind of entry each, how it is made, and how it is seen.

use super::*;

pub(super) const ROWS: &[Row] = &[
    Row { what: "content of files", path: "file", make: |path| write(path, noise(50_000, 1)), see: content },
    Row {
        what: "holes of sparse files",
        path: "sparse",
        make: make_sparse,
        see: |path| format!("{} {}", std::fs::metadata(path).unwrap().blocks() < 2000, content(path)),
    },
    Row { what: "empty directories", path: "empty", make: make_directory, see: kind },
    Row {
        what: "symbolic links",
        path: "link",
        make: |path| symlink("file", path).unwrap(),
        see: |path| std::fs::read_link(path).map_or_else(|_| "none".to_owned(), |target| target.display().to_string()),
    },
    Row {
        what: "hard links",
        path: "hard",
        make: |path| {
            write(&path.with_file_name("hard-first"), "x");
            std::fs::hard_link(path.with_file_name("hard-first"), path).unwrap();
        },
        see: |path| {
            let inode = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.ino()).ok();
            format!("{}", inode(path).is_some() && inode(path) == inode(&path.with_file_name("hard-first")))
        },
    },
    Row { what: "named pipes", path: "pipe", make: |path| make_node(path, FileType::Fifo, 0), see: kind },
    Row { what: "sockets", path: "socket", make: |path| make_node(path, FileType::Socket, 0), see: kind },
    Row {
        what: "character devices",
        path: "character",
        make: |path| {
            make_node(path, FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        },
        see: kind,
    },
    Row {
        what: "block devices",
        path: "block",
        make: |path| {
            make_node(path, FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
        },
        see: kind,
    },
    Row { what: "permissions", path: "permissions", make: |path| make_mode(path, 0o604), see: mode },
    Row { what: "setuid, setgid and sticky bits", path: "setuid", make: |path| make_mode(path, 0o7755), see: mode },
    Row {
        what: "numeric owner and group",
        path: "owned",
        make: |path| {
            write(path, "x");
            chown(path, Some(OTHER), Some(OTHER)).unwrap();
        },
        see: owner,
    },
    Row {
        what: "owner and group of symbolic links",
        path: "owned-link",
        make: |path| {
            symlink("file", path).unwrap();
            std::os::unix::fs::lchown(path, Some(OTHER), Some(OTHER)).unwrap();
        },
        see: owner,
    },
    Row {
        what: "times of files, to the nanosecond",
        path: "time",
        make: |path| {
            write(path, "x");
            set_time(path, 1_234_567_890, 123_456_789);
        },
        see: time,
    },
    Row {
        what: "times before 1970 and after 2038",
        path: "far",
        make: |path| {
            write(path, "x");
            set_time(path, 5_000_000_000, 1);
            write(&path.with_file_name("far-before"), "x");
            set_time(&path.with_file_name("far-before"), -1_000_000_000, 1);
        },
        see: |path| format!("{} {}", time(path), time(&path.with_file_name("far-before"))),
    },
    Row {
        what: "times of symbolic links",
        path: "time-link",
        make: |path| {
            symlink("file", path).unwrap();
            set_time(path, 1_234_567_890, 5);
        },
        see: time,
    },
    Row {
        what: "times of directories",
        path: "time-directory",
        make: |path| {
            write(&path.join("in"), "x");
            set_time(path, 1_234_567_890, 7);
        },
        see: time,
    },
    Row {
        what: "access control lists",
        path: "acl",
        make: |path| {
            write(path, "x");
            set_xattr(path, ACCESS, acl(5));
        },
        see: |path| attribute(path, ACCESS),
    },
    Row {
        what: "default access control lists",
        path: "acl-directory",
        make: |path| {
            make_directory(path);
            set_xattr(path, DEFAULT, acl(5));
        },
        see: |path| attribute(path, DEFAULT),
    },
    Row {
        what: "extended attributes, `user.`",
        path: "xattr",
        make: |path| {
            write(path, "x");
            set_xattr(path, "user.short", "short");
            set_xattr(path, "user.long", [b'l'; 1000]);
        },
        see: |path| format!("{} {}", attribute(path, "user.short"), attribute(path, "user.long")),
    },
    Row {
        what: "extended attributes, `trusted.`",
        path: "xattr-trusted",
        make: |path| {
            write(path, "x");
            set_xattr(path, "trusted.a", "a");
        },
        see: |path| attribute(path, "trusted.a"),
    },
    Row {
        what: "capabilities of programs (`security.capability`)",
        path: "capable",
        make: |path| {
            write(path, "x");
            set_xattr(path, "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        },
        see: |path| attribute(path, "security.capability"),
    },
    Row {
        what: "extended attributes of symbolic links",
        path: "xattr-link",
        make: |path| {
            symlink("file", path).unwrap();
            set_xattr(path, "trusted.a", "a");
        },
        see: |path| attribute(path, "trusted.a"),
    },
    Row {
        what: "names of any bytes",
        path: "names",
        make: |path| support::odd_names(path),
        see: |path| {
            let names = std::fs::read_dir(path).map(Iterator::count).unwrap_or_default();
            format!("{names} {}", content(&path.join(OsStr::from_bytes(b"\xff\xfe invalid"))))
        },
    },
    Row {
        what: "`lost+found` beneath the root",
        path: "deep",
        make: |path| write(&path.join("lost+found/file"), "x"),
        see: |path| content(&path.join("lost+found/file")),
    },
    Row {
        what: "permissions and time of the root itself",
        path: "",
        make: |path| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o2770)).unwrap();
            set_time(path, 1_111_111_111, 11);
        },
        see: |path| format!("{} {}", mode(path), time(path)),
    },
];

fn make_sparse(path: &Path) {
    write(path, noise(5000, 2));
    std::fs::File::options().write(true).open(path).unwrap().set_len(8 << 20).unwrap();
}

fn make_directory(path: &Path) {
    std::fs::create_dir(path).unwrap();
}

fn make_mode(path: &Path, mode: u32) {
    write(path, "x");
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn make_node(path: &Path, kind: FileType, number: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), number).unwrap();
}

fn see(path: &Path, what: impl Fn(&std::fs::Metadata) -> String) -> String {
    std::fs::symlink_metadata(path).map_or_else(|_| "none".to_owned(), |metadata| what(&metadata))
}

fn content(path: &Path) -> String {
    std::fs::read(path).map_or_else(|_| "none".to_owned(), |content| format!("{content:?}"))
}

fn kind(path: &Path) -> String {
    see(path, |metadata| format!("{:o} {}", metadata.mode() & 0o170_000, metadata.rdev()))
}

fn mode(path: &Path) -> String {
    see(path, |metadata| format!("{:o}", metadata.mode()))
}

fn owner(path: &Path) -> String {
    see(path, |metadata| format!("{}:{}", metadata.uid(), metadata.gid()))
}

fn time(path: &Path) -> String {
    see(path, |metadata| format!("{}.{}", metadata.mtime(), metadata.mtime_nsec()))
}

fn attribute(path: &Path, name: &str) -> String {
    format!("{:?}", xattr(path, name.as_bytes()))
}
