import sqlite3

from langchain_core.tools import tool


@tool
def order_status(number: int) -> str:
    """The status of an order."""
    connection = sqlite3.connect("shop.db")
    row = connection.execute("SELECT status FROM orders WHERE id = ?", (number,)).fetchone()
    return row[0]


def send_mail(server, address, body):
    server.sendmail("shop@example.com", address, body)
