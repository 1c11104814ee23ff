package shop;

import org.springframework.ai.chat.client.ChatClient;
import org.springframework.web.bind.annotation.CrossOrigin;

@CrossOrigin(origins = "*") // hit: permissive-cors
public class ChatController {
  private final ChatClient chatClient;
}
