//! Links: the v1 infohash first, and read back.

use torrent::{Magnet, MagnetError, Options};

use crate::support::{everything, options, piece};

#[test]
fn the_v1_infohash_is_first_and_the_hybrid_has_both() {
    let torrent = everything().torrent("run-0x12", piece(16), Options::default());
    let (v1, v2) = (torrent.infohash_v1(), torrent.infohash_v2());
    assert_eq!(torrent.magnet_v1().to_string(), format!("magnet:?xt=urn:btih:{v1}&dn=run-0x12"));
    let hybrid = format!("magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}&dn=run-0x12");
    assert_eq!(torrent.magnet().to_string(), hybrid);
}

#[test]
fn every_part_is_read_back() {
    let torrent = everything().torrent("näme & co", piece(16), options());
    let magnet =
        Magnet { peers: vec!["127.0.0.1:6881".parse().unwrap(), "[::1]:6882".parse().unwrap()], ..torrent.magnet() };
    let text = magnet.to_string();
    assert!(text.contains("&dn=n%C3%A4me%20%26%20co&tr=http%3A%2F%2F127.0.0.1%3A1%2Fannounce&"), "{text}");
    assert!(text.ends_with("&x.pe=127.0.0.1:6881&x.pe=[::1]:6882"), "{text}");
    assert_eq!(text.parse(), Ok(magnet));
}

#[test]
fn links_of_others_are_read() {
    let v1 = "0123456789abcdef0123456789abcdef01234567";
    let hex: Magnet = format!("magnet:?dn=x&foo=bar&xt.1=urn:btih:{}&xl=5", v1.to_uppercase()).parse().unwrap();
    assert_eq!((hex.v1.to_string(), hex.name.as_deref()), (v1.to_owned(), Some("x")));
    // The same bytes in base 32, by another implementation (Python's base64.b32encode).
    let base32: Magnet = "magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH".parse().unwrap();
    assert_eq!(base32.v1, hex.v1);
    let again: Magnet = format!("magnet:?xt=urn:btih:{v1}&xt=urn:btih:{v1}").parse().unwrap();
    assert_eq!(again.v1, hex.v1);
}

#[test]
fn whatever_is_not_a_bundles_link_is_refused() {
    let v1 = format!("xt=urn:btih:{}", "1".repeat(40));
    let read = |text: &str| text.parse::<Magnet>();
    let infohash = |expected, got: &str| Err(MagnetError::Infohash { expected, got: got.to_owned() });
    let v1_expected = "40 hex digits or 32 of base 32";
    assert_eq!(read("http://x"), Err(MagnetError::Scheme));
    assert_eq!(read("magnet:?dn=x"), Err(MagnetError::NoInfohash));
    assert_eq!(read("magnet:?xt=urn:sha1:x"), Err(MagnetError::NoInfohash));
    assert_eq!(read("magnet:?xt=urn:btih:12"), infohash(v1_expected, "12"));
    let no_hex = "g".repeat(40);
    assert_eq!(read(&format!("magnet:?xt=urn:btih:{no_hex}")), infohash(v1_expected, &no_hex));
    let no_base32 = "1".repeat(32);
    assert_eq!(read(&format!("magnet:?xt=urn:btih:{no_base32}")), infohash(v1_expected, &no_base32));
    let sha1_multihash = format!("1114{}", "0".repeat(40));
    let refused = read(&format!("magnet:?{v1}&xt=urn:btmh:{sha1_multihash}"));
    assert_eq!(refused, infohash("1220 and 64 hex digits", &sha1_multihash));
    let two = format!("magnet:?{v1}&xt=urn:btih:{}", "2".repeat(40));
    assert_eq!(read(&two), Err(MagnetError::TwoInfohashes { kind: "btih" }));
    assert_eq!(read(&format!("magnet:?{v1}&dn=%ff")), Err(MagnetError::NotUtf8 { key: "dn".to_owned() }));
    assert_eq!(read(&format!("magnet:?{v1}&x.pe=nobody")), Err(MagnetError::Peer { got: "nobody".to_owned() }));
    assert!(matches!(read(&format!("magnet:?{v1}&tr=file%3A%2F%2F%2Fetc")), Err(MagnetError::Link(_))));
    assert!(matches!(read(&format!("magnet:?{v1}&ws=http%3A%2F%2Fu%3Ap%40h%2F")), Err(MagnetError::Link(_))));
    let long = format!("magnet:?{v1}&dn={}", "x".repeat(70_000));
    assert_eq!(read(&long), Err(MagnetError::TooLong { got: long.len() }));
}

#[test]
fn what_is_written_longer_than_it_was_read_is_refused() {
    let v1 = format!("xt=urn:btih:{}", "1".repeat(40));
    // 1,500 bytes of letters that an address writes with three each, and a slash that is added; a name of three for one.
    let address = |key: &str| format!("magnet:?{v1}&{key}=http://h/{}", "\u{fc}".repeat(750));
    for (key, got) in [("tr", 9 + 6 * 750), ("ws", 9 + 6 * 750)] {
        let refused = address(key).parse::<Magnet>();
        assert_eq!(refused, Err(MagnetError::Link(torrent::LinkError::TooLong { got })), "{key}");
    }
    let slash = format!("magnet:?{v1}&ws=http://h/{}", "x".repeat(2048 - 9));
    assert_eq!(slash.parse::<Magnet>(), Err(MagnetError::Link(torrent::LinkError::TooLong { got: 2049 })));
    let name = format!("magnet:?{v1}&dn={}", "\u{fc}".repeat(20_000));
    assert!(matches!(name.parse::<Magnet>(), Err(MagnetError::TooLong { got }) if got > 120_000), "{name:.60}");
    let fits: Magnet = format!("magnet:?{v1}&tr=http://h/{}", "\u{fc}".repeat(300)).parse().unwrap();
    assert_eq!(fits.to_string().parse(), Ok(fits));
}
