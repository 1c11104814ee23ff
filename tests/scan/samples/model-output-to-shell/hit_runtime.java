package shop;

import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.model.chat.ChatLanguageModel;

public class Helper {
  private final ChatLanguageModel model;

  public Helper(ChatLanguageModel model) {
    this.model = model;
  }

  public void fix(String problem) throws Exception {
    String command = model.generate("One command for: " + problem);
    Runtime.getRuntime().exec(command); // hit: model-output-to-shell
  }

  @Tool("Lists a folder")
  public String list(String folder) throws Exception { // hit: dangerous-tool-without-approval
    return run(new ProcessBuilder("sh", "-c", "ls " + folder)); // hit: model-output-to-shell
  }
}
