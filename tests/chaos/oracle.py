"""Sends signed, forged and replayed deliveries to a receiver and checks its responses.

Independent of the receiver's code: it uses only Python's standard library, and its rules are written from the contract
(the page and its consequences). Usage: oracle.py POLICY PORT CASES SEED. Prints one line for each wrong
response, and `tried N` at the end.
"""

import hashlib
import hmac
import random
import socket
import sys
import time

POLICY, PORT, CASES, SEED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
SECRETS = [b"whsec_new", b"whsec_old", b""]
TOLERANCE, WINDOW = 300, 7 * 24 * 3600
BATCH = 40
rng = random.Random(SEED)

RECEIVED, DUPLICATE = (200, b'{"received":true}'), (200, b'{"duplicate":true}')
MISSING, INVALID = (401, b"Missing signature"), (403, b"Invalid signature")


def sign(secret, timestamp, body):
    return hmac.new(secret, timestamp + b"." + body, hashlib.sha256).hexdigest().encode()


class Memory:
    """What a correct receiver remembers."""

    def __init__(self):
        self.signatures = set()
        self.identities = set()


def single(headers, name):
    """The one value of a header: None if absent or empty, False if it came more than once."""
    values = [value.strip(b" \t") for key, value in headers if key == name]
    if len(values) > 1:
        return False
    return values[0] if values and values[0] else None


def judge(headers, body, now, memory, remember):
    """What a correct receiver answers."""
    signature, timestamp = single(headers, b"x-linktree-signature"), single(headers, b"x-linktree-timestamp")
    if signature is None or timestamp is None:
        # A duplicate header and a missing one: rejected with either response.
        return MISSING if signature is not False and timestamp is not False else (401, 403)
    if signature is False or timestamp is False:
        return INVALID
    if len(signature) != 64 or any(c not in b"0123456789abcdefABCDEF" for c in signature):
        return INVALID
    if not 1 <= len(timestamp) <= 11 or any(c not in b"0123456789" for c in timestamp):
        return INVALID
    if timestamp[:1] == b"0" and len(timestamp) > 1:
        return INVALID
    mac = signature.lower()
    if not any(secret and sign(secret, timestamp, body) == mac for secret in SECRETS):
        return INVALID
    age = now - int(timestamp)
    late = POLICY == "accept-once" and TOLERANCE < age < WINDOW - TOLERANCE - 1
    if abs(age) > TOLERANCE and not late:
        return INVALID
    delivery = single(headers, b"x-linktree-delivery-id")
    usable = delivery and len(delivery) <= 128 and all(33 <= c <= 126 for c in delivery)
    identity = (delivery if usable else b"\0" + mac, hashlib.sha256(body).digest())
    known = mac in memory.signatures or identity in memory.identities
    if remember:
        # A captured request under another id is a duplicate by its signature; the other id is not stored.
        if mac not in memory.signatures:
            memory.identities.add(identity)
        memory.signatures.add(mac)
    return DUPLICATE if known else RECEIVED


class Cases:
    """Makes requests. A request is (kind, headers, body)."""

    def __init__(self):
        self.n = 0
        self.valid = []

    def fresh(self, at, secret=None, body=None):
        self.n += 1
        body = body if body is not None else b'{"type":"link.created","data":{"n":%d,"r":%d}}' % (self.n, rng.getrandbits(40))
        timestamp = str(at).encode()
        secret = secret if secret is not None else rng.choice(SECRETS[:2])
        return self.headers(sign(secret, timestamp, body), timestamp, b"dlv_%d_%d" % (SEED, self.n)), body

    @staticmethod
    def headers(signature, timestamp, delivery):
        return [(b"x-linktree-signature", signature), (b"x-linktree-timestamp", timestamp), (b"x-linktree-delivery-id", delivery)]

    def make(self, now):
        kind = rng.choice(KINDS)
        headers, body = getattr(self, kind)(now)
        return kind, headers, body

    def good(self, now):
        request = self.fresh(now)
        self.valid.append(request)
        return request

    def earlier(self, now):
        return rng.choice(self.valid) if self.valid else self.good(now)

    def replace(self, request, name, change):
        headers, body = request
        return [(key, change(value) if key == name else value) for key, value in headers], body

    # Accepted, or duplicates.
    def upper_hex(self, now):
        return self.replace(self.fresh(now), b"x-linktree-signature", bytes.upper)

    def mixed_hex(self, now):
        raised = rng.getrandbits(64)
        mix = lambda text: bytes(c - 32 if 97 <= c <= 102 and raised >> n & 1 else c for n, c in enumerate(text))
        return self.replace(self.fresh(now), b"x-linktree-signature", mix)

    def any_body(self, now):
        return self.fresh(now, body=rng.randbytes(rng.choice([0, 1, 63, 64, 65, 1000, 20000])))

    def spaced_value(self, now):
        return self.replace(self.fresh(now), rng.choice(NAMES), lambda value: b" \t" + value + b" ")

    def repeated(self, now):
        return self.earlier(now)

    def fresh_id_replay(self, now):
        return self.replace(self.earlier(now), b"x-linktree-delivery-id", lambda _: b"new_%d" % rng.getrandbits(60))

    def case_changed_replay(self, now):
        request = self.replace(self.earlier(now), b"x-linktree-signature", bytes.upper)
        return self.replace(request, b"x-linktree-delivery-id", lambda _: b"up_%d" % rng.getrandbits(60))

    def no_id_replay(self, now):
        headers, body = self.earlier(now)
        return [pair for pair in headers if pair[0] != b"x-linktree-delivery-id"], body

    def resigned_retry(self, now):
        headers, body = self.earlier(now)
        again, _ = self.fresh(now - rng.randint(0, 200), body=body)
        return [again[0], again[1], headers[2]], body

    def poisoned_id(self, now):
        """A captured delivery under the id of one to come: the one to come is not a duplicate."""
        coming = self.fresh(now)
        self.pending = coming
        headers, body = self.fresh(now)
        return [headers[0], headers[1], coming[0][2]], body

    def after_poison(self, now):
        coming, self.pending = getattr(self, "pending", None), None
        return coming or self.good(now)

    def odd_id(self, now):
        odd = rng.choice([b"", b"a b", b"x" * 129, b"x" * 128, b"\xc3\xa9", b"a,b", b"~!", b"a\tb"])
        return self.replace(self.fresh(now), b"x-linktree-delivery-id", lambda _: odd)

    def doubled_id(self, now):
        headers, body = self.fresh(now)
        return headers + [headers[2]], body

    # At the limit of the window.
    def edge(self, now):
        return self.fresh(now + rng.choice([-301, -300, -299, 299, 300, 301]))

    def far(self, now):
        return self.fresh(now + rng.choice([-3600, -86400, -6 * 86400, -8 * 86400, 3600, 10**9, -now]))

    def far_replay(self, now):
        request = self.fresh(now - rng.choice([400, 1210, 90000]))
        self.valid.append(request)
        return request

    # Rejected.
    def bit_flip_signature(self, now):
        def flip(text):
            mac = bytearray(bytes.fromhex(text.decode()))
            mac[rng.randrange(32)] ^= 1 << rng.randrange(8)
            return mac.hex().encode()
        return self.replace(self.fresh(now), b"x-linktree-signature", flip)

    def bit_flip_body(self, now):
        headers, body = self.fresh(now)
        changed = bytearray(body)
        changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        return headers, bytes(changed)

    def cut_body(self, now):
        headers, body = self.fresh(now)
        return headers, rng.choice([body[:-1], body + b" ", body + b"\n", b""])

    def other_time(self, now):
        return self.replace(self.fresh(now), b"x-linktree-timestamp", lambda value: str(int(value) + rng.choice([-1, 1, 60])).encode())

    def moved_dot(self, now):
        """`ts.body` read at another dot: the signature fits, the grammar must not."""
        headers, body = self.fresh(now, body=b"1.%d" % rng.getrandbits(40))
        timestamp = headers[1][1] + b".1"
        return [headers[0], (headers[1][0], timestamp), headers[2]], body[2:]

    def length(self, now):
        change = rng.choice([lambda t: t[:63], lambda t: t + b"0", lambda t: t[:32], lambda t: t * 2, lambda t: t[:1], lambda t: b"0x" + t[2:]])
        return self.replace(self.fresh(now), b"x-linktree-signature", change)

    def not_hex(self, now):
        change = rng.choice([
            lambda t: b"g" + t[1:], lambda t: b"sha256=" + t, lambda t: t[:62] + b"\xc3\xa9", lambda t: t[:32] + b" " + t[33:],
            lambda t: t + b"," + t, lambda t: t + b", " + t, lambda t: b'"' + t + b'"', lambda t: b"v1=" + t,
            lambda t: "".join(chr(0xFF10 + int(c, 16) % 10) for c in t.decode()[:16]).encode(),
        ])
        return self.replace(self.fresh(now), b"x-linktree-signature", change)

    def odd_time(self, now):
        """Signed over exactly what is sent: only the grammar refuses."""
        text = str(now).encode()
        odd = rng.choice([
            b"+" + text, b"-" + text, b"0" + text, b"00" + text, text + b".0", text + b"e0", text + b",", text + b"," + text,
            "".join(chr(0xFF10 + int(c)) for c in str(now)).encode(), "".join(chr(0x0660 + int(c)) for c in str(now)).encode(),
            b"0x%x" % now, text + b"000", text + b"0000", b"now", text[:5] + b"_" + text[5:], b"9" * 11, b"9" * 12, b"9" * 30,
        ])
        self.n += 1
        body = b'{"odd":%d}' % self.n
        return self.headers(sign(SECRETS[0], odd, body), odd, b"odd_%d" % self.n), body

    def empty_secret(self, now):
        return self.fresh(now, secret=b"")

    def wrong_secret(self, now):
        return self.fresh(now, secret=rng.choice([b"whsec_nex", b"whsec_new ", b"WHSEC_NEW", b"\0", b"whsec_new\0", b"whsec_newwhsec_old", b"t0ken"]))

    def doubled(self, now):
        headers, body = self.fresh(now)
        name, value = headers[rng.randrange(2)]
        extra = (name, rng.choice([value, b"", b"0" * 64, str(now).encode()]))
        return ([extra] + headers if rng.random() < 0.5 else headers + [extra]), body

    def absent(self, now):
        headers, body = self.fresh(now)
        gone = rng.choice([NAMES[:1], NAMES[1:2], NAMES[:2]])
        if rng.random() < 0.5:
            return [pair for pair in headers if pair[0] not in gone], body
        return [(key, rng.choice([b"", b" "]) if key in gone else value) for key, value in headers], body

    def misnamed(self, now):
        headers, body = self.fresh(now)
        other = rng.choice([b"x-linktree_signature", b"x-linktree-signature2", b"linktree-signature", b"x-signature"])
        return [(other, headers[0][1])] + headers[1:], body

    def over_body_only(self, now):
        headers, body = self.fresh(now)
        bare = hmac.new(SECRETS[0], body, hashlib.sha256).hexdigest().encode()
        return [(headers[0][0], bare)] + headers[1:], body

    def plain_hash(self, now):
        headers, body = self.fresh(now)
        bare = hashlib.sha256(SECRETS[0] + headers[1][1] + b"." + body).hexdigest().encode()
        return [(headers[0][0], bare)] + headers[1:], body


NAMES = [b"x-linktree-signature", b"x-linktree-timestamp", b"x-linktree-delivery-id"]
KINDS = [name for name in vars(Cases) if not name.startswith("_") and name not in ("fresh", "headers", "make", "earlier", "replace")]


def request(headers, body):
    lines = [b"POST /h/abc HTTP/1.1", b"host: x"] + [key + b": " + value for key, value in headers]
    return b"\r\n".join(lines + [b"content-length: %d" % len(body), b"", b""]) + body


def answers(stream, count):
    """Reads this many answers."""
    for _ in range(count):
        status = int(stream.readline().split(b" ")[1])
        length = 0
        while (line := stream.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        yield status, stream.read(length)


def agrees(expected, answer):
    """An expectation is an answer, or two statuses of which either will do."""
    return answer == expected if isinstance(expected[1], bytes) else answer[0] in expected


def main():
    memory, cases, tried = Memory(), Cases(), 0
    connection = socket.create_connection(("127.0.0.1", PORT))
    connection.settimeout(30)
    stream = connection.makefile("rb")
    while tried < CASES:
        # A batch starts early in a second, so that few of its cases extend into the next.
        while time.time() % 1 > 0.6:
            time.sleep(0.02)
        before = int(time.time())
        batch = [cases.make(before) for _ in range(min(BATCH, CASES - tried))]
        connection.sendall(b"".join(request(headers, body) for _, headers, body in batch))
        got = list(answers(stream, len(batch)))
        after = int(time.time())
        for (kind, headers, body), answer in zip(batch, got):
            either = {judge(headers, body, now, memory, False) for now in range(before, after + 1)}
            if not any(agrees(expected, answer) for expected in either):
                print(f"{kind}: answered {answer}, expected {either}: {headers} {body[:60]}")
            if answer[0] == 200:
                judge(headers, body, int(headers[1][1].strip()), memory, True)
            tried += 1
    print("tried", tried)


main()
