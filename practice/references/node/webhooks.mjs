// Who sent this? The signatures of Twilio and Slack, and Slack's way to escape text.
import { createHmac, timingSafeEqual } from "node:crypto";

const FIVE_MINUTES = 5 * 60;

// Whether Twilio signed this form (URLSearchParams) for the public address `url`: the address, then every field, blank
// ones too, in the order of their names. Without a token anybody could sign, so nothing is accepted.
// https://www.twilio.com/docs/usage/security#validating-requests
export function isFromTwilio(token, url, form, signature) {
  const names = [...new Set(form.keys())].sort();
  const fields = names.flatMap((name) => [...new Set(form.getAll(name))].sort().map((value) => name + value));
  const expected = createHmac("sha1", token).update(url + fields.join("")).digest("base64");
  return token !== "" && isSame(expected, signature);
}

// Whether Slack signed these very bytes, within the last five minutes.
// https://docs.slack.dev/authentication/verifying-requests-from-slack/
export function isFromSlack(secret, body, headers) {
  const timestamp = headers["x-slack-request-timestamp"];
  const age = Math.abs(Date.now() / 1000 - Number(timestamp)); // NaN, which is never near, if there is no number
  const expected = "v0=" + createHmac("sha256", secret).update(`v0:${timestamp}:`).update(body).digest("hex");
  return secret !== "" && age <= FIVE_MINUTES && isSame(expected, headers["x-slack-signature"]);
}

// Takes as long for a signature that is nearly right as for any other.
function isSame(expected, given) {
  const [left, right] = [Buffer.from(expected), Buffer.from(given ?? "")];
  return left.length === right.length && timingSafeEqual(left, right);
}

// What somebody typed in Slack, which escapes three characters. The ampersand is the last to turn back.
export function unescaped(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

// `text` for Slack to show as it is.
export function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
