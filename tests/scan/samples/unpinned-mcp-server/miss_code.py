from mcp import StdioServerParameters

server = StdioServerParameters(command="npx", args=["-y", "@modelcontextprotocol/server-github@2025.4.8"])
other = StdioServerParameters(command="python", args=["server.py"])
