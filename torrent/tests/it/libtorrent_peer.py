# libtorrent with one torrent on the loopback interface, seeding or fetching, with nothing but the peers it is told.
#
# Arguments: torrent file, directory, ports of peers. Prints two lines of JSON: {"listen": port} and, when every file is here, the
# torrent failed or a minute is over, what libtorrent says of it. Ends with standard input.
import json
import sys
import threading
import time

import libtorrent

LOOPBACK = "127.0.0.1"

torrent, directory, *peers = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": LOOPBACK + ":0",
    "outgoing_interfaces": LOOPBACK,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_natpmp": False,
    "enable_upnp": False,
    "allow_multiple_connections_per_ip": True,
})
parameters = libtorrent.load_torrent_file(torrent)
parameters.save_path = directory
parameters.trackers = []
handle = session.add_torrent(parameters)
for port in peers:
    handle.connect_peer((LOOPBACK, int(port)))
print(json.dumps({"listen": session.listen_port()}), flush=True)


def outcome():
    status = handle.status()
    give_up = time.monotonic() + 60
    while not (status.is_seeding or status.errc.value()) and time.monotonic() < give_up:
        time.sleep(0.05)
        status = handle.status()
    hashes = status.info_hashes
    return {
        "is_seeding": status.is_seeding,
        "error": status.errc.message() if status.errc.value() else None,
        "v1": str(hashes.v1) if hashes.has_v1() else None,
        "v2": str(hashes.v2) if hashes.has_v2() else None,
    }


threading.Thread(target=lambda: print(json.dumps(outcome()), flush=True), daemon=True).start()
sys.stdin.read()
