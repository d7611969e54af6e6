// The handler of Linktree's page: verifies, remembers delivery ids in memory, stores nothing. What the page leaves to
// the reader (the raw body, other lengths than the expected one) is done in the plainest way; nothing is printed per
// event. PORT and LINKTREE_WEBHOOK_SECRET come from the environment.
"use strict";

const crypto = require("node:crypto");
const express = require("express");

const app = express();
app.use(express.json({ limit: "256kb", verify: (req, _res, raw) => { req.rawBody = raw; } }));

function verifyLinktreeSignature(req, res, next) {
  const signature = req.headers["x-linktree-signature"];
  const timestamp = req.headers["x-linktree-timestamp"];
  if (!signature || !timestamp) return res.status(401).send("Missing signature");
  const payload = `${timestamp}.${req.rawBody}`;
  const expected = crypto.createHmac("sha256", process.env.LINKTREE_WEBHOOK_SECRET).update(payload).digest("hex");
  const [given, wanted] = [Buffer.from(signature), Buffer.from(expected)];
  if (given.length !== wanted.length || !crypto.timingSafeEqual(given, wanted)) {
    return res.status(403).send("Invalid signature");
  }
  next();
}

const processed = new Set();
function ensureIdempotent(req, res, next) {
  const deliveryId = req.headers["x-linktree-delivery-id"];
  if (processed.has(deliveryId)) return res.status(200).json({ duplicate: true });
  processed.add(deliveryId);
  next();
}

const counts = new Map();
app.post("/webhooks/linktree", verifyLinktreeSignature, ensureIdempotent, (req, res) => {
  const { type } = req.body;
  counts.set(type, (counts.get(type) ?? 0) + 1);
  res.status(200).json({ received: true });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
