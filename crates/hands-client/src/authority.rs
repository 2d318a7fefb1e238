//! What an operator asks of a hub: tokens and members.

use hands_proto::v1::authority_client::AuthorityClient;
use hands_proto::v1::{
    CreateTokenRequest, ListMembersRequest, ListTokensRequest, RemoveMemberRequest,
    RevokeTokenRequest,
};
use hands_reapi::Channel;

use crate::{ClientError, Cluster, MadeToken, Member, NewToken, Removed, Token};

impl Cluster {
    fn authority(&self) -> AuthorityClient<Channel> {
        AuthorityClient::new(self.channel())
    }

    /// Makes a token. Its secret is said this once.
    pub async fn create_token(&self, token: NewToken) -> Result<MadeToken, ClientError> {
        let request = self.request(CreateTokenRequest::from(token));
        let answer = self.authority().create_token(request).await;
        self.answer("the request for a token", answer).map(MadeToken::from)
    }

    /// All tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        let mut tokens = Vec::new();
        let mut page = ListTokensRequest::default();
        loop {
            let answer = self.authority().list_tokens(self.request(page.clone())).await;
            let reply = self.answer("the list of tokens", answer)?;
            tokens.extend(reply.tokens.into_iter().map(Token::from));
            if reply.next_page_token.is_empty() || reply.next_page_token == page.page_token {
                return Ok(tokens);
            }
            page.page_token = reply.next_page_token;
        }
    }

    /// Ends a token, by its id or a prefix of it; with `members` also the membership of all who came by it. Gives its whole id.
    pub async fn revoke_token(
        &self,
        id: &str,
        members: bool,
    ) -> Result<(String, Removed), ClientError> {
        let request = RevokeTokenRequest { id: id.to_owned(), members };
        let answer = self.authority().revoke_token(self.request(request)).await;
        let reply = self.answer("the revocation of a token", answer)?;
        Ok((reply.id, Removed::of(reply.removed, reply.more)))
    }

    /// All members, also those that were removed lately.
    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        let mut members = Vec::new();
        let mut page = ListMembersRequest::default();
        loop {
            let answer = self.authority().list_members(self.request(page.clone())).await;
            let reply = self.answer("the list of members", answer)?;
            members.extend(reply.members.into_iter().map(Member::from));
            if reply.next_page_token.is_empty() || reply.next_page_token == page.page_token {
                return Ok(members);
            }
            page.page_token = reply.next_page_token;
        }
    }

    /// Ends memberships, by name or id; with `all` every one that fits, and else it must be one.
    pub async fn remove_member(&self, member: &str, all: bool) -> Result<Removed, ClientError> {
        let request = RemoveMemberRequest { member: member.to_owned(), all };
        let answer = self.authority().remove_member(self.request(request)).await;
        let reply = self.answer("the removal of a member", answer)?;
        Ok(Removed::of(reply.removed, reply.more))
    }
}
