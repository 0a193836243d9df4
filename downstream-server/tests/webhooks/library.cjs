// One question to the npm library `standardwebhooks`, whose folder is the argument: JSON in, JSON out.
const { Webhook } = require(process.argv[2]);

const question = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const webhook = new Webhook(question.secret, question.raw ? { format: "raw" } : {});
if (question.sign) {
  const signature = webhook.sign(question.sign, new Date(question.seconds * 1000), question.body);
  console.log(JSON.stringify(signature));
} else {
  let verified = true;
  try {
    webhook.verify(question.body, question.headers);
  } catch (error) {
    if (error.name !== "WebhookVerificationError") throw error;
    verified = false;
  }
  console.log(JSON.stringify(verified));
}
