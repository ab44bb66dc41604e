//! What is wrong with a request before any use case sees it.

use huika_core::{FieldProblem, Problem, Refusal};

huika_core::problems! {
    /// A request that cannot be taken, and the two ways in which the server itself can drop one.
    pub enum RequestError {
        /// No credentials came with the request.
        [401 "access.unauthenticated"]
        Unauthenticated
        en "This needs credentials: log in and send `Authorization: Bearer …`, or sign the request as an API client."
        zh "需要身份凭证：请登录后携带 `Authorization: Bearer …`，或以 API 客户端身份签名。";

        /// No route has this path.
        [404 "request.route_unknown"]
        RouteUnknown
        en "There is nothing at this address: compare it with the API description."
        zh "该地址不存在，请对照接口文档检查。";

        /// The route exists, the method does not.
        [405 "request.method_not_allowed"]
        MethodNotAllowed
        en "This address does not take that method: use one that the Allow header names."
        zh "该地址不支持此方法，请使用 Allow 响应头列出的方法。";

        /// The body is not declared as JSON.
        [415 "request.not_json"]
        NotJson
        en "Send JSON with the header `Content-Type: application/json`."
        zh "请发送 JSON，并携带请求头 `Content-Type: application/json`。";

        /// The body is larger than the route takes.
        [413 "request.too_large"]
        TooLarge { limit_bytes: usize }
        en "The body is larger than {limit_bytes} bytes: send less at once."
        zh "请求体超过 {limit_bytes} 字节，请分批发送。";

        /// The connection broke while the body was read.
        [400 "request.unreadable"]
        Unreadable
        en "The body ended before it was complete: send the request again."
        zh "请求体不完整，请重新发送。";

        /// The body is not JSON.
        [400 "request.json_syntax"]
        JsonSyntax { line: usize, column: usize, reason: String }
        en "The body is not valid JSON at line {line}, column {column}: {reason}."
        zh "请求体第 {line} 行第 {column} 列不是有效的 JSON。";

        /// Fields of the body are missing, unknown, of the wrong type or out of range.
        [422 "request.invalid"]
        Invalid
        en "Some fields are wrong: correct what `fields` lists."
        zh "部分字段有误，请按 `fields` 所列修改。";

        /// Parameters of the query are wrong.
        [400 "request.query_invalid"]
        QueryInvalid
        en "Some query parameters are wrong: correct what `fields` lists."
        zh "部分查询参数有误，请按 `fields` 所列修改。";

        /// A part of the path is not of the expected form.
        [400 "request.path_invalid"]
        PathInvalid
        en "A part of the address is wrong: correct what `fields` lists."
        zh "地址中的参数有误，请按 `fields` 所列修改。";

        /// A command that moves value came without its key.
        [400 "request.idempotency_key_missing"]
        IdempotencyKeyMissing
        en "Send the header `Idempotency-Key` with a key of your own for this command, and the same one when you repeat it."
        zh "请携带请求头 `Idempotency-Key`：每个操作自定一个键，重试时使用同一个键。";

        /// The idempotency key has the wrong form.
        [400 "request.idempotency_key_invalid"]
        IdempotencyKeyInvalid
        en "The header `Idempotency-Key` takes 1 to 64 visible ASCII characters."
        zh "请求头 `Idempotency-Key` 应为 1 至 64 个可见 ASCII 字符。";

        /// The answer took longer than a request may take.
        [503 "system.timeout"]
        TimedOut
        en "The answer took too long. The change was made or not: send the same request again with the same key."
        zh "处理超时，操作可能已生效也可能未生效，请使用相同的幂等键重试。";

        /// A bug.
        [500 "system.panicked"]
        Panicked
        en "Something failed on our side and was logged. Try again later, and quote the trace id if it stays."
        zh "系统内部错误，已记录。请稍后重试；如仍失败，请提供跟踪编号。";
    }
}

/// Input of which some fields are wrong, with the list of them.
#[derive(Debug)]
pub struct InvalidInput {
    kind: RequestError,
    fields: Vec<FieldProblem>,
}

impl InvalidInput {
    /// Wrong fields of the body.
    pub fn body(fields: Vec<FieldProblem>) -> Self {
        Self {
            kind: RequestError::Invalid,
            fields,
        }
    }

    /// One wrong field of the body, in English and Chinese.
    pub fn field(field: impl Into<String>, en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self::body(vec![FieldProblem {
            field: field.into(),
            en: en.into(),
            zh: zh.into(),
        }])
    }

    pub(crate) fn query(fields: Vec<FieldProblem>) -> Self {
        Self {
            kind: RequestError::QueryInvalid,
            fields,
        }
    }

    pub(crate) fn path(field: FieldProblem) -> Self {
        Self {
            kind: RequestError::PathInvalid,
            fields: vec![field],
        }
    }
}

impl std::fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for InvalidInput {}

impl Refusal for InvalidInput {
    fn problem(&self) -> Problem {
        Problem {
            fields: self.fields.clone(),
            ..self.kind.problem()
        }
    }
}
