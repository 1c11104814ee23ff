package shop;

import dev.langchain4j.model.chat.ChatLanguageModel;
import java.util.Set;

public class Helper {
  private static final Set<String> ALLOWED = Set.of("status", "log");
  private final ChatLanguageModel model;

  public Helper(ChatLanguageModel model) {
    this.model = model;
  }

  public void act(String problem) throws Exception {
    String verb = model.generate("One verb for: " + problem);
    if (!ALLOWED.contains(verb)) {
      throw new IllegalArgumentException(verb);
    }
    new ProcessBuilder("git", verb).start();
  }
}
