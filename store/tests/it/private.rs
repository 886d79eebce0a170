//! Secrets are readable by their owner only and cannot be mixed with what is published.

use std::fs;

use ledger::{ArtifactPath, StepIndex};
use store::{PrivateDir, PrivateError, RunSecret};

use crate::support::{self, tempdir};

#[test]
fn a_secret_and_states_are_stored_and_found() {
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let open = || PrivateDir::open_or_create(&temp.path().join("private"), &temp.path().join("artifacts"), run);
    let private = open().unwrap();
    assert!(private.secret().unwrap().is_none());
    private.create_secret(&RunSecret::new([7; 32])).unwrap();
    let again = private.create_secret(&RunSecret::new([8; 32]));
    assert!(matches!(again, Err(PrivateError::SecretExists { .. })), "{again:?}");
    private.write_state(StepIndex(10), b"ten").unwrap();
    private.write_state(StepIndex(2), b"two").unwrap();
    private.write_state(StepIndex(2), b"two again").unwrap();
    fs::write(private.path().join(".tmp-state_000011.bin"), b"half").unwrap();

    let private = open().unwrap();
    assert_eq!(private.secret().unwrap().unwrap().expose(), &[7; 32]);
    assert_eq!(private.states().unwrap(), [StepIndex(2), StepIndex(10)]);
    assert_eq!(private.read_state(StepIndex(2)).unwrap().as_slice(), b"two again");
    assert!(!private.path().join(".tmp-state_000011.bin").exists());
    private.remove_state(StepIndex(2)).unwrap();
    let gone = private.read_state(StepIndex(2));
    assert!(matches!(gone, Err(PrivateError::Missing { .. })), "{gone:?}");
    assert_eq!(format!("{:?}", RunSecret::new([7; 32])), "RunSecret(..)");
}

#[test]
fn a_damaged_secret_is_refused() {
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let private = PrivateDir::open_or_create(&temp.path().join("p"), &temp.path().join("a"), run).unwrap();
    private.create_secret(&RunSecret::new([7; 32])).unwrap();
    for len in [0, 31, 33] {
        fs::write(private.path().join("secret"), vec![7; len]).unwrap();
        let refused = private.secret();
        assert!(matches!(refused, Err(PrivateError::SecretLength { got, .. }) if got == len), "{refused:?}");
    }
}

#[test]
fn private_and_public_directories_must_be_apart() {
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let (a, b) = (temp.path().join("a"), temp.path().join("a/b"));
    for (private, public) in [(&a, &a), (&a, &b), (&b, &a)] {
        let refused = PrivateDir::open_or_create(private, public, run);
        assert!(matches!(refused, Err(PrivateError::NotApart { .. })), "{refused:?}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let open = || PrivateDir::open_or_create(&temp.path().join("p"), &temp.path().join("a"), run);
    let private = open().unwrap();
    private.create_secret(&RunSecret::new([7; 32])).unwrap();
    private.write_state(StepIndex(0), b"zero").unwrap();
    let secret = private.path().join("secret");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(private.path()), mode(&secret)), (0o700, 0o600));
    assert_eq!(mode(&private.path().join("state_000000.bin")), 0o600);

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = private.secret();
    assert!(matches!(refused, Err(PrivateError::TooOpen { mode: 0o644, .. })), "{refused:?}");
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let refused = open();
    assert!(matches!(refused, Err(PrivateError::TooOpen { mode: 0o750, .. })), "{refused:?}");
}

#[test]
fn no_private_name_is_a_path_of_a_bundle() {
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let private = PrivateDir::open_or_create(&temp.path().join("p"), &temp.path().join("a"), run).unwrap();
    private.create_secret(&RunSecret::new([7; 32])).unwrap();
    private.write_state(StepIndex(123), b"x").unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(private.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.parse::<ArtifactPath>().is_err(), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn children_are_counted_once_each_and_by_state() {
    let temp = tempdir();
    let run = support::run(1, 1).run();
    let private = PrivateDir::open_or_create(&temp.path().join("p"), &temp.path().join("a"), run).unwrap();
    let child = |n: u64| ledger::RunId::from(ledger::FieldElement::from(n));
    assert_eq!(private.children(StepIndex(8)).unwrap(), []);
    for (state, n) in [(8, 3), (8, 2), (8, 3), (9, 4)] {
        private.add_child(StepIndex(state), child(n)).unwrap();
    }
    assert_eq!(private.children(StepIndex(8)).unwrap(), [child(2), child(3)]);
    assert_eq!(private.children(StepIndex(9)).unwrap(), [child(4)]);
    assert!(private.genesis_seed().unwrap().is_none());
    private.write_genesis_seed(&RunSecret::new([5; 32])).unwrap();
    assert_eq!(private.genesis_seed().unwrap().unwrap().expose(), &[5; 32]);
}
