package shop

import dev.langchain4j.model.chat.ChatLanguageModel
import java.io.File

class Notes(private val model: ChatLanguageModel) {
    fun show(question: String): Int {
        val name = model.generate(question)
        File("docs/log.txt").appendText(name)
        return name.length
    }
}
