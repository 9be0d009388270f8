// The page's own entry at the provider: a public client, with this page's address as redirect URI.
export default {
  issuer: "https://login.example.com",
  clientId: "payroll",
  scope: "openid",
  // What your provider needs besides, such as { audience: "..." } or { resource: "..." }.
  parameters: {},
};
