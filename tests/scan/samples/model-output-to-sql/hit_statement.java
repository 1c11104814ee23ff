package shop;

import java.sql.Connection;
import org.springframework.ai.chat.client.ChatClient;

public class Report {
  private final ChatClient chatClient;
  private final Connection connection;

  public Object run(String question) throws Exception {
    String sql = chatClient.prompt().user(question).call().content();
    return connection.createStatement().executeQuery(sql); // hit: model-output-to-sql
  }
}
