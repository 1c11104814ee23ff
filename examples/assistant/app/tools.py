"""What the assistant can do."""

import json
import os
import smtplib
import sqlite3
import subprocess

from app.settings import REFUND_LIMIT

DATABASE = os.getenv("DATABASE", "helpdesk.db")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lookup_customer",
            "description": "Look up a customer by id.",
            "parameters": {"type": "object", "properties": {"customer_id": {"type": "string"}}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "read_ticket",
            "description": "Read a ticket with all messages of the customer.",
            "parameters": {"type": "object", "properties": {"ticket_id": {"type": "string"}}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "refund_payment",
            "description": "Refund a card payment to an account.",
            "parameters": {
                "type": "object",
                "properties": {"payment_id": {"type": "string"}, "amount": {"type": "number"}, "account": {"type": "string"}},
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "send_mail",
            "description": "Send a mail on behalf of the bank.",
            "parameters": {
                "type": "object",
                "properties": {"to": {"type": "string"}, "subject": {"type": "string"}, "body": {"type": "string"}},
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "run_report",
            "description": "Answer a question about the data with SQL.",
            "parameters": {"type": "object", "properties": {"sql": {"type": "string"}}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "diagnose_host",
            "description": "Check whether a branch printer answers.",
            "parameters": {"type": "object", "properties": {"host": {"type": "string"}}},
        },
    },
]


def lookup_customer(customer_id: str) -> str:
    rows = sqlite3.connect(DATABASE).execute("SELECT * FROM customers WHERE id = ?", (customer_id,)).fetchall()
    return json.dumps(rows)


def read_ticket(ticket_id: str) -> str:
    rows = sqlite3.connect(DATABASE).execute("SELECT author, body FROM messages WHERE ticket = ?", (ticket_id,)).fetchall()
    return json.dumps(rows)


def refund_payment(payment_id: str, amount: float, account: str) -> str:
    if amount > REFUND_LIMIT:
        return "amount above the limit"
    connection = sqlite3.connect(DATABASE)
    connection.execute("INSERT INTO refunds VALUES (?, ?, ?)", (payment_id, amount, account))
    connection.commit()
    return "refunded"


def send_mail(to: str, subject: str, body: str) -> str:
    with smtplib.SMTP(os.getenv("SMTP", "localhost")) as smtp:
        smtp.sendmail("helpdesk@meridian.example", to, f"Subject: {subject}\n\n{body}")
    return "sent"


def run_report(sql: str) -> str:
    rows = sqlite3.connect(DATABASE).execute(sql).fetchall()
    return json.dumps(rows)


def diagnose_host(host: str) -> str:
    return subprocess.run(f"ping -c 1 {host}", shell=True, capture_output=True, text=True).stdout


CALLABLE = {f.__name__: f for f in (lookup_customer, read_ticket, refund_payment, send_mail, run_report, diagnose_host)}
