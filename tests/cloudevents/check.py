"""Starts a receiver with two signed sinks, one per mode of CloudEvents, and delivers events to it. The CloudEvents SDK and
the Standard Webhooks library parse the requests to the sinks. Both modes must contain the same event.

    check.py BINARY
"""

import base64, hashlib, hmac, http.server, json, os, pathlib, queue, re, subprocess, sys, tempfile, threading, time
import urllib.parse, urllib.request

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(os.urandom(24)).decode()
KEY = "s3cret"
LINK = {"link_id": "lnk_1", "title": "Grüße \"&\" <b>\N{SNOWMAN}</b>", "url": "https://shop.example/a?b=c", "position": 3}
EVENTS = [
    ("link.created", LINK),
    ("link.updated", {**LINK, "thumbnail_url": None}),
    ("link.deleted", {"link_id": "lnk \N{SNOWMAN} 100%", "deleted_at": 1700000000}),
    ("profile.updated", {"username": "brand", "bio": "line\nline", "avatar_url": "https://a.example/x.png", "theme": "dark"}),
    ("analytics.milestone", {"link_id": "lnk_1", "metric": "clicks", "value": 1e3, "threshold": 1000}),
    ("collection.created", {"name": "of an undocumented type"}),
]


class Sink(http.server.BaseHTTPRequestHandler):
    """Keeps every request."""

    taken = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Sink.taken.put((self.path, dict(self.headers.items()), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def route(port):
    def sink(name, format):
        return {
            "name": name, "url": f"http://127.0.0.1:{port}/{name}", "signingSecret": SECRET, "format": format,
            "timeoutSeconds": 5, "retry": {"giveUpAfterSeconds": 604800, "delaySeconds": 1, "maxDelaySeconds": 1},
        }

    return {
        "version": 1, "webhook": {"namespace": "marketing", "name": "links"}, "path": "/h/abc", "adminToken": "t", "probeKey": "p",
        "keys": [{"name": "k1", "secret": KEY}], "timestampToleranceSeconds": 300, "deduplicationWindowSeconds": 604800,
        "retentionSeconds": 604800, "deadLetterRetentionSeconds": 2592000, "capacityBytes": 1 << 30, "maxBodyBytes": 262144, "staleDeliveryPolicy": "Reject",
        "sinks": [sink("binary", "cloudEvent"), sink("structured", "cloudEventStructured")],
    }


def deliver(port, identity, body):
    sent_at = str(int(time.time()))
    signature = hmac.new(KEY.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json", "x-linktree-signature": signature, "x-linktree-timestamp": sent_at,
        "x-linktree-delivery-id": identity,
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/h/abc", body, headers)
    for attempt in range(100):
        try:
            return urllib.request.urlopen(request, timeout=5).read()
        except urllib.error.HTTPError as error:
            # The route is not loaded yet.
            if error.code not in (404, 503) or attempt == 99:
                raise
            time.sleep(0.05)


def check(path, headers, body, sent):
    """One request, as the libraries read it."""
    Webhook(SECRET).verify(body, headers)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"]), headers["traceparent"]
    event = from_http_event(HTTPMessage({name.lower(): value for name, value in headers.items()}, body))
    identity = event.get_id()
    kind, data = sent[identity]
    assert event.get_specversion() == "1.0"
    assert event.get_type() == f"dev.linktree-operator.{kind}", event.get_type()
    assert event.get_source().endswith("/namespaces/marketing/linktreewebhooks/links")
    assert event.get_subject() == data.get("link_id", data.get("username")), event.get_subject()
    assert abs(event.get_time().timestamp() - time.time()) < 60
    assert (event.get_dataschema() is None) == (kind == "collection.created"), event.get_dataschema()
    digest = hashlib.sha256(json.dumps({"type": kind, "data": data, "timestamp": 1700000000}, ensure_ascii=False).encode())
    assert event.get_extension("bodydigest") == digest.hexdigest()[:32], event.get_attributes()
    delivered = event.get_data()
    delivered = json.loads(delivered) if isinstance(delivered, (bytes, str)) else delivered
    assert delivered == {"type": kind, "data": data, "timestamp": 1700000000}, delivered
    attributes = {name: value for name, value in event.get_attributes().items() if name != "datacontenttype"}
    assert headers["webhook-id"] == urllib.parse.quote(identity, safe="-_").replace(".", "%2E").replace("~", "%7E")
    return path, identity, attributes


def main(binary):
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "route.json").write_text(json.dumps(route(sink.server_port)))
        command = [
            binary, "receiver", "--route-file", scratch / "route.json", "--journal", scratch / "journal", "--log-format", "json",
            "--delivery-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--egress-allow", "127.0.0.0/8",
        ]
        with open(scratch / "log", "wb") as log:
            receiver = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "RUST_LOG": "info"})
        try:
            port = listening(scratch / "log", receiver)
            sent = {f"dlv_{number}.\N{SNOWMAN} %": event for number, event in enumerate(EVENTS)}
            sent = {name.encode("ascii", "ignore").decode().replace(" ", ""): event for name, event in sent.items()}
            for identity, (kind, data) in sent.items():
                body = json.dumps({"type": kind, "data": data, "timestamp": 1700000000}, ensure_ascii=False).encode()
                assert deliver(port, identity, body) == b'{"received":true}'
            read = [check(*Sink.taken.get(timeout=15), sent) for _ in range(2 * len(sent))]
        except BaseException:
            print((scratch / "log").read_text(), file=sys.stderr)
            raise
        finally:
            receiver.terminate()
            receiver.wait(timeout=15)
    modes = [{name: attributes for path, name, attributes in read if path == mode} for mode in ("/binary", "/structured")]
    assert len(modes[0]) == len(EVENTS) and modes[0] == modes[1], "the modes differ"
    print(f"{len(read)} requests read by cloudevents and standardwebhooks, {len(EVENTS)} events, the same in both modes")


def listening(log, receiver):
    for _ in range(200):
        found = re.search(r'"delivery":"127\.0\.0\.1:(\d+)"', log.read_text())
        if found:
            return int(found[1])
        assert receiver.poll() is None, "the receiver ended"
        time.sleep(0.05)
    raise AssertionError("the receiver does not listen")


main(sys.argv[1])
