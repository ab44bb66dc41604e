//! Problem JSON (RFC 9457) out of any refusal.

use std::collections::BTreeMap;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use huika_core::{Chain, FieldProblem, Language, Problem, Refusal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::context;

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// Any refusal on its way to the caller. Made by `?`, logged when it becomes a response.
#[derive(Debug)]
pub struct ApiError(Box<dyn Refusal>);

impl<E: Refusal> From<E> for ApiError {
    fn from(refusal: E) -> Self {
        Self(Box::new(refusal))
    }
}

impl ApiError {
    /// The problem as a body, for the refused items of a bulk whose others were carried out.
    pub fn to_body(&self) -> ProblemBody {
        let problem = self.0.problem();
        self.log(&problem);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ProblemBody::new(problem, status, context::language())
    }

    /// What is our fault is logged here and nowhere else, with its causes; the caller gets the trace id.
    fn log(&self, problem: &Problem) {
        let (code, status) = (problem.code, problem.status);
        if status >= 500 {
            tracing::error!(code, status, error = %Chain(&*self.0), "request failed");
        } else {
            tracing::debug!(code, status, "request refused");
        }
    }

    /// Takes a refusal of which only the trait is known.
    pub fn from_boxed(refusal: Box<dyn Refusal>) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0.problem();
        self.log(&problem);
        problem_response(problem)
    }
}

fn problem_response(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // An unavailable server always says when to come back.
    let retry_after = problem
        .retry_after_seconds
        .or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
    let language = context::language();
    let body = ProblemBody::new(problem, status, language);
    let mut response = (status, serde_json::to_vec(&body).unwrap_or_default()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(
        CONTENT_LANGUAGE,
        HeaderValue::from_static(match language {
            Language::Chinese => "zh-CN",
            Language::English => "en",
        }),
    );
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"huika\""),
        );
    }
    response
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// The kind of problem as a URI: `urn:huika:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:huika:problem:request.invalid")]
    pub kind: String,
    /// The name of the HTTP status.
    #[schema(example = "Unprocessable Entity")]
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    pub status: u16,
    /// The stable code that programs decide on.
    #[schema(example = "request.invalid")]
    pub code: String,
    /// What happened and what to do, in the language of Accept-Language (Chinese by default).
    pub detail: String,
    /// The same in Chinese.
    pub detail_zh: String,
    /// The same in English.
    pub detail_en: String,
    /// The values inside the texts, for programs.
    pub params: BTreeMap<String, String>,
    /// The fields of the input that are wrong.
    pub fields: Vec<FieldBody>,
    /// Joins this answer with our logs. Absent only outside a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub trace_id: Option<String>,
}

/// A field of the input that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldBody {
    /// Where, as a path.
    #[schema(example = "lines[2].quantity")]
    pub field: String,
    /// What is wrong, in the language of Accept-Language (Chinese by default).
    pub detail: String,
    /// The same in Chinese.
    pub detail_zh: String,
    /// The same in English.
    pub detail_en: String,
}

impl ProblemBody {
    fn new(problem: Problem, status: StatusCode, language: Language) -> Self {
        let Problem {
            code,
            en,
            zh,
            params,
            fields,
            ..
        } = problem;
        Self {
            kind: format!("urn:huika:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: pick(language, &en, &zh),
            detail_zh: zh,
            detail_en: en,
            params: params
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            fields: fields
                .into_iter()
                .map(|field| FieldBody::new(field, language))
                .collect(),
            trace_id: context::trace_id().map(|id| id.to_string()),
        }
    }
}

impl FieldBody {
    fn new(FieldProblem { field, en, zh }: FieldProblem, language: Language) -> Self {
        Self {
            field,
            detail: pick(language, &en, &zh),
            detail_zh: zh,
            detail_en: en,
        }
    }
}

fn pick(language: Language, en: &str, zh: &str) -> String {
    match language {
        Language::Chinese => zh.to_owned(),
        Language::English => en.to_owned(),
    }
}
