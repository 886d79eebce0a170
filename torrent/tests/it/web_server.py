# A web server on the loopback interface. Arguments: "ranges" or "none", directory. Prints its port. Ends with standard input.
import http.server
import os
import re
import sys
import threading
import urllib.parse

knows, directory = sys.argv[1:]


class Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = os.path.join(directory, urllib.parse.unquote(self.path).lstrip("/"))
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            content = file.read()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if knows == "ranges" and asked:
            first, last = map(int, asked.groups())
            content, status = content[first:last + 1], 206
        else:
            status = 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
