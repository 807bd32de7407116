// chat.cpp — the turn markers of the families, without an interpreter for Jinja.
//
// The template of a model is a program in Jinja; for one user's turn it comes down to a fixed text before and after the
// message. Which one is told by the special tokens of the vocabulary, and, where these are the same (Llama 2, TinyLlama),
// by the markers that the template writes. From the template also comes the default system message.
//
//   ChatML     <|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n
//              (SmolLM2, Qwen2; S is the default system message of the template)
//   Llama 3    <|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>
//              <|start_header_id|>assistant<|end_header_id|>\n\n, after BOS the system's turn of 3.1 and later
//   Llama 2    <s>[INST] U [/INST]
//   TinyLlama  <|user|>\nU</s>\n<|assistant|>\n
//
// Llama 2 and 3 take the white space around U away.

#include "tokenizer/chat.h"

#include <algorithm>
#include <initializer_list>

#include "support/check.h"
#include "support/utf8.h"

namespace skintern {

namespace {

bool has_tokens(const Bpe& bpe, std::initializer_list<const char*> tokens) {
    return std::all_of(tokens.begin(), tokens.end(),
                       [&](const char* token) { return bpe.token_id(token) >= 0; });
}

// Jinja's trim and Python's strip: without the white space at both ends, U+001C to U+001F included.
std::string trimmed(const std::string& text) {
    size_t begin = text.size();
    size_t end = 0;
    for (size_t pos = 0; pos < text.size();) {
        const auto [code, size] = utf8_at(text, pos);
        if (!is_white_space(code) && !(code >= 0x1c && code <= 0x1f)) {
            begin = std::min(begin, pos);
            end = pos + size;
        }
        pos += size;
    }
    return begin < end ? text.substr(begin, end - begin) : "";
}

// The system message that a ChatML template writes when there is none: the text, free of Jinja, between
// "<|im_start|>system\n" (the line end as such or as an escape) and "<|im_end|>". "": the template has none.
std::string default_system(const std::string& chat_template) {
    const std::string head = "<|im_start|>system";
    for (size_t at = chat_template.find(head); at != std::string::npos;
         at = chat_template.find(head, at + 1)) {
        size_t begin = at + head.size();
        const bool escaped = chat_template.compare(begin, 2, "\\n") == 0;
        begin += escaped ? 2 : 1;
        const size_t end = chat_template.find("<|im_end|>", begin);
        if (end == std::string::npos || (!escaped && chat_template[begin - 1] != '\n')) {
            continue;
        }
        const std::string text = chat_template.substr(begin, end - begin);
        if (text.find_first_of("'\"{}\\") == std::string::npos) {
            return text;
        }
    }
    return "";
}

std::string chatml(const Bpe& bpe, const std::string& user) {
    const std::string system = default_system(bpe.chat_template());
    const std::string before = system.empty() ? "" : "<|im_start|>system\n" + system + "<|im_end|>\n";
    return before + "<|im_start|>user\n" + user + "<|im_end|>\n<|im_start|>assistant\n";
}

std::string llama3(const Bpe& bpe, const std::string& user) {
    const auto header = [](const std::string& role) {
        return "<|start_header_id|>" + role + "<|end_header_id|>\n\n";
    };
    // Llama 3.1 and 3.2 always have a system turn. Their templates take today's date where it can be had; the date here
    // is the one they take otherwise, so that the same prompt has the same ids tomorrow.
    const bool dated = bpe.chat_template().find("Cutting Knowledge Date") != std::string::npos;
    const std::string system = header("system") +
                               "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n" +
                               "<|eot_id|>";
    return "<|begin_of_text|>" + (dated ? system : "") + header("user") + trimmed(user) + "<|eot_id|>" +
           header("assistant");
}

} // namespace

std::string apply_chat(const Bpe& bpe, const std::string& user) {
    if (has_tokens(bpe, {"<|im_start|>", "<|im_end|>"})) {
        return chatml(bpe, user);
    }
    if (has_tokens(bpe, {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"})) {
        return llama3(bpe, user);
    }
    CHECK(has_tokens(bpe, {"<s>", "</s>"}), "--chat: the vocabulary has the special tokens of no chat format "
                                            "known here (ChatML, Llama 3, Llama 2, "
                                            "TinyLlama)");
    const std::string& source = bpe.chat_template();
    if (source.find("<|user|>") != std::string::npos) {
        return "<|user|>\n" + user + "</s>\n<|assistant|>\n";
    }
    CHECK(source.empty() || source.find("[INST]") != std::string::npos,
          "--chat: the chat template of the model has neither <|user|> nor [INST], and no other is known for "
          "its special "
          "tokens");
    return "<s>[INST] " + trimmed(user) + " [/INST]";
}

} // namespace skintern
