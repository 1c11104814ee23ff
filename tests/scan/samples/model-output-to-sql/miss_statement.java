package shop;

import java.sql.Connection;
import java.sql.PreparedStatement;
import org.springframework.ai.chat.client.ChatClient;

public class Report {
  private final ChatClient chatClient;
  private final Connection connection;

  public Object run(String question) throws Exception {
    String name = chatClient.prompt().user(question).call().content();
    PreparedStatement statement = connection.prepareStatement("SELECT * FROM users WHERE name = ?");
    statement.setString(1, name);
    return statement.executeQuery();
  }
}
