from mcp.server.fastmcp import FastMCP

mcp = FastMCP("calc")


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers. Returns the sum as an integer. Important: numbers must be positive."""
    return a + b


@mcp.tool()
def search(query: str) -> list:
    """Search the documentation. Use this before answering questions about products.

    Args:
        query: what the user asked, in a few words.
    """
    return index.search(query)
