from django.urls import path

from apps.users import views

app_name = "users"
# What stands before the last line cannot be a username: the sign-up form looks here.
urlpatterns = [
    path("login/", views.log_in, name="login"),
    path("logout/", views.log_out, name="logout"),
    path("signup/", views.sign_up, name="signup"),
    path("account/", views.account, name="account"),
    path("account/data/", views.download, name="download"),
    path("account/deleted/", views.deleted, name="deleted"),
    path("edit/", views.edit, name="edit"),
    path("delete/", views.delete, name="delete"),
    path("confirm/", views.confirm, name="confirm"),
    path("confirm/send/", views.send_confirmation, name="send_confirmation"),
    path("password/change/", views.password_change, name="password_change"),
    path("password/reset/", views.password_reset, name="password_reset"),
    path("password/reset/sent/", views.password_reset_done, name="password_reset_done"),
    path("password/reset/<uidb64>/<token>/", views.password_reset_confirm, name="password_reset_confirm"),
    path("<str:username>/", views.profile, name="profile"),
]
