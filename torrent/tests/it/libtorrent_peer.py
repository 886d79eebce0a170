# libtorrent with one torrent on the loopback interface, seeding or fetching, with nothing but the peers it is told.
#
# Arguments: torrent file, directory, ports of peers. Prints one line of JSON: {"listen": port}. Ends with standard input.
import json
import sys

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
sys.stdin.read()
