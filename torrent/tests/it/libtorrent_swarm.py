# A swarm on the loopback interface: a tracker, and libtorrent seeding one torrent.
#
# Arguments: torrent file, directory. Prints one line of JSON: {"tracker": port, "listen": port}. The tracker answers with
# every port that announced itself. Ends with standard input.
import http.server
import json
import sys
import threading
import urllib.parse

import libtorrent

LOOPBACK = "127.0.0.1"
ports = set()


class Tracker(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if "port" not in query:
            # A scrape.
            self.send_error(404)
            return
        asking = int(query["port"][0])
        peers = b"".join(bytes([127, 0, 0, 1]) + port.to_bytes(2, "big") for port in ports if port != asking)
        ports.add(asking)
        # Some clients do not call a loopback address that they were told.
        handle.connect_peer((LOOPBACK, asking))
        answer = libtorrent.bencode({b"interval": 1, b"min interval": 1, b"peers": peers})
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


torrent, directory = sys.argv[1:]
tracker = http.server.ThreadingHTTPServer((LOOPBACK, 0), Tracker)
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
parameters.trackers = ["http://%s:%d/announce" % (LOOPBACK, tracker.server_port)]
handle = session.add_torrent(parameters)
ports.add(session.listen_port())
threading.Thread(target=tracker.serve_forever, daemon=True).start()
print(json.dumps({"tracker": tracker.server_port, "listen": session.listen_port()}), flush=True)
sys.stdin.read()
