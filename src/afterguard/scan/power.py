"""What a call can do to the world: shell, code, SQL, file, payment, mail.

In: a call as flow saw it, or a tool's name. Out: a word, or "" for a call that only reads. Constant text is weighed: a fixed SELECT
has no power, a fixed program still has.
"""

from __future__ import annotations

import re

from afterguard.scan.flow import Flow, Seen
from afterguard.scan.recognise import Tails
from afterguard.scan.sinks import dangerous, listed_program
from afterguard.scan.value import Value

_MAIL = Tails(
    [
        "sendmail", "smtplib.smtp", "sendemail", "send_mail", "emails.send", "mail.send", "transporter.sendmail", "ses.sendemail",
        "sendgridapiclient", "sgmail.send", "mailer.send", "resend.emails.send", "smtp.sendmail", "messages.send", "emailmessage.send",
        "javamailsender.send", "mailsender.send", "transport.send", "dialandsend", "sendbulk", "sendrawemail", "mailgun.messages.create",
        "send_email_message", "sendsimplemessage", "server.sendmessage", "smtp.sendmessage",
    ]
)  # fmt: skip
_PAY = Tails(
    [
        "stripe.charge.create", "charge.create", "charges.create", "paymentintent.create", "paymentintents.create", "refund.create",
        "refunds.create", "transfer.create", "transfers.create", "payout.create", "payouts.create", "payment.create", "payments.create",
        "createpayment", "issuerefund", "refundpayment", "transferfunds", "sendpayment", "createpayout", "executepayment", "placeorder",
        "wiretransfer", "sendtransaction", "braintree.transaction.sale", "transaction.sale", "chargecard", "capturepayment",
    ]
)  # fmt: skip
_WRITE = Tails(
    [
        "os.remove", "os.unlink", "os.rename", "os.rmdir", "os.removedirs", "shutil.rmtree", "shutil.move", "writetext", "writebytes",
        "fs.writefile", "fs.writefilesync", "fs.unlink", "fs.unlinksync", "fs.rm", "fs.rmsync", "fs.appendfile", "fs.appendfilesync",
        "promises.writefile", "writefilesync", "unlinksync", "files.write", "files.writestring", "files.delete", "os.writefile",
        "os.removeall", "ioutil.writefile", "writefile", "rmtree", "deno.writetextfile", "deno.remove", "fspromises.writefile",
    ]
)  # fmt: skip
_READ_SQL = re.compile(r"^\s*(?:select|show|explain|describe|pragma|with)\b(?!.*\binto\b)", re.IGNORECASE | re.DOTALL)
_WRITE_MODE = re.compile(r"^[rbt]*[wax+]")
_NAMED = (
    (
        "shell",
        re.compile(
            r"(?:^|_)(?:run|exec|execute)_?(?:shell|command|cmd|bash|terminal|script)|^(?:bash|shell|terminal|run_?in_?terminal)$",
            re.I,
        ),
    ),
    ("code", re.compile(r"(?:run|exec|execute|eval)_?(?:python|code|javascript)|python_?repl", re.I)),
    (
        "SQL",
        re.compile(
            r"(?:run|exec|execute)_?(?:sql|query)|sql_?query|(?:update|delete|drop|insert)_?(?:record|row|table|database|user|account|customer)s?",
            re.I,
        ),
    ),
    ("file", re.compile(r"(?:write|delete|remove|overwrite|edit|move)_?files?", re.I)),
    (
        "payment",
        re.compile(
            r"refund|transfer_?(?:money|funds?)|send_?(?:payment|money)|make_?payment|pay_?(?:invoice|bill)|charge_?(?:card|customer)|wire_?|payout|issue_?credit|purchase|place_?order",
            re.I,
        ),
    ),
    ("mail", re.compile(r"send_?(?:e?mail|message|sms|slack)|forward_?e?mail|reply_?(?:to_)?e?mail", re.I)),
)


def named_power(name: str) -> str:
    """The power a tool's name promises, "" for none."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:100])
    return next((word for word, pattern in _NAMED if pattern.search(snake)), "")


def power(seen: Seen, flow: Flow) -> str:
    """The power of a call, "" for none."""
    if any(_varies(value, flow) for value in dangerous(seen, "shell")) or listed_program(seen):
        return "shell"
    if any(_varies(value, flow) for value in dangerous(seen, "eval")):
        return "code"
    for value in dangerous(seen, "sql"):
        if not (_READ_SQL.search(value.text) and not _varies(value, flow)):
            return "SQL"
    if _WRITE.match(seen.folded) or _opens_to_write(seen):
        return "file"
    if _PAY.match(seen.folded):
        return "payment"
    return "mail" if _MAIL.match(seen.folded) else ""


def _varies(value: Value, flow: Flow) -> bool:
    return bool(value.atoms)


def _opens_to_write(seen: Seen) -> bool:
    if seen.folded not in ("open", "builtins.open", "io.open", "aiofiles.open") and not seen.folded.endswith(
        "path.open"
    ):
        return False
    mode = seen.key("mode").text or next((value.text for value in seen.args[-1:] if len(value.text) <= 4), "")
    return bool(_WRITE_MODE.match(mode))
