# What libtorrent finds in a .torrent file or magnet link, as JSON.
import json
import sys

import libtorrent

if sys.argv[1].startswith("magnet:"):
    link = libtorrent.parse_magnet_uri(sys.argv[1])
    hashes = link.info_hashes
    print(json.dumps({"v1": str(hashes.v1), "v2": str(hashes.v2), "name": link.name}))
    sys.exit()
torrent = libtorrent.torrent_info(sys.argv[1])
files, hashes = torrent.files(), torrent.info_hashes()


def file(at):
    is_pad = bool(files.file_flags(at) & libtorrent.file_storage.flag_pad_file)
    return {"path": files.file_path(at), "len": files.file_size(at), "root": str(files.root(at)), "pad": is_pad}


print(json.dumps({
    "v1": str(hashes.v1),
    "v2": str(hashes.v2),
    "name": torrent.name(),
    "piece_length": torrent.piece_length(),
    "private": torrent.priv(),
    "pieces": [torrent.hash_for_piece(at).hex() for at in range(torrent.num_pieces())],
    "trackers": [tracker.url for tracker in torrent.trackers()],
    "web_seeds": [seed["url"] for seed in torrent.web_seeds()],
    "files": [file(at) for at in range(files.num_files())],
}))
