from typing import Any

from axes.utils import reset as forgive_failed_logins
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.contrib.messages.views import SuccessMessageMixin
from django.db import IntegrityError, router
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from apps.users import deletion, personal_data, selectors, services
from apps.users.confirmation import ConfirmationError, send_link, user_of_token
from apps.users.deletion import LinkError, make_token, read_token
from apps.users.forms import DeleteAccountForm, PasswordChangeForm, PasswordResetForm, ProfileForm, SignUpForm
from apps.users.models import User
from routers.scopes import using_primary

SIGN_IN_BACKEND = "django.contrib.auth.backends.ModelBackend"
RELOAD_SECONDS = 3


class SignedInRequest(HttpRequest):
    """What a view gets behind login_required."""

    user: User


class PasswordChangeView(SuccessMessageMixin, auth.PasswordChangeView):
    template_name = "users/password_change.html"
    form_class = PasswordChangeForm
    success_url = reverse_lazy("users:account")
    success_message = "Your password is changed. Other devices were logged out."

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}


# Whether the link has been used is read where that is written.
@method_decorator(using_primary(), name="dispatch")
class PasswordResetConfirmView(SuccessMessageMixin, auth.PasswordResetConfirmView):
    template_name = "users/password_reset_confirm.html"
    success_url = reverse_lazy("users:login")
    success_message = "Your password is changed. Log in with the new one."

    def form_valid(self, form: Any) -> HttpResponse:
        # Whoever forgot it has often tried until the log-in was blocked.
        forgive_failed_logins(username=form.user.get_username())
        return super().form_valid(form)


log_in = auth.LoginView.as_view(template_name="users/login.html")
log_out = auth.LogoutView.as_view()
password_change = PasswordChangeView.as_view()
password_reset = auth.PasswordResetView.as_view(
    form_class=PasswordResetForm,
    template_name="users/password_reset.html",
    email_template_name="users/mail/password_reset.txt",
    subject_template_name="users/mail/password_reset_subject.txt",
    success_url=reverse_lazy("users:password_reset_done"),
)
password_reset_done = auth.PasswordResetDoneView.as_view(template_name="users/password_reset_done.html")
password_reset_confirm = PasswordResetConfirmView.as_view()


@sensitive_post_parameters("password1", "password2")
def sign_up(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("users:account")
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        try:
            user = _register(form)
        except IntegrityError as error:
            _refuse_duplicate(form, error)
        else:
            login(request, user, backend=SIGN_IN_BACKEND)
            _mail_link(request, user)
            return redirect("users:account")
    return render(request, "users/signup.html", {"form": form})


@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    return render(request, "users/account.html", {"alias": router.db_for_read(User)})


@login_required
@never_cache
@require_safe
def download(request: SignedInRequest) -> StreamingHttpResponse:
    """What every database holds of the visitor, as one JSON file that is made while it is sent."""
    return StreamingHttpResponse(
        personal_data.as_json(request.user.pk),
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="my-data.json"'},
    )


@login_required
@never_cache
def edit(request: SignedInRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=request.user)
    if form.is_valid():
        try:
            address_is_new = services.update_profile(user=request.user, **form.cleaned_data)
        except IntegrityError as error:
            _refuse_duplicate(form, error)
        except User.DoesNotExist as error:
            raise Http404("This account has just been deleted.") from error
        else:
            messages.success(request, "Your profile is saved.")
            if address_is_new:
                _mail_link(request, request.user)
            return redirect("users:account")
    return render(request, "users/edit.html", {"form": form})


@login_required
@never_cache
@sensitive_post_parameters("password")
def delete(request: SignedInRequest) -> HttpResponse:
    form = DeleteAccountForm(request.POST or None, request=request)
    if form.is_valid():
        token = make_token(request.user.pk)
        services.delete_user(user=request.user)
        logout(request)
        return redirect(f"{reverse('users:deleted')}?token={token}")
    return render(request, "users/delete.html", {"form": form, "databases": personal_data.by_database()})


@never_cache
@require_safe
def deleted(request: HttpRequest) -> HttpResponse:
    """How far the deletion has come. The link says whose, as nobody is logged in any more."""
    try:
        steps = deletion.steps(*read_token(request.GET.get("token", "")))
    except LinkError as error:
        return render(request, "users/deleted.html", {"error": error}, status=400)
    is_over = all(step.is_over for step in steps)
    response = render(request, "users/deleted.html", {"steps": steps, "is_over": is_over, "seconds": RELOAD_SECONDS})
    if not is_over:
        response.headers["Refresh"] = str(RELOAD_SECONDS)
    return response


@never_cache
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask on GET, confirm on POST: programs that follow the links in a mail do not press buttons."""
    token = request.GET.get("token", "")
    try:
        person = services.confirm_email(token=token) if request.method == "POST" else user_of_token(token)
    except ConfirmationError as error:
        return render(request, "users/confirm.html", {"error": error}, status=400)
    if request.method != "POST":
        return render(request, "users/confirm.html", {"person": person})
    messages.success(request, f"{person.email} is confirmed as the address of {person.username}.")
    return redirect("users:account")


@require_POST
@login_required
def send_confirmation(request: SignedInRequest) -> HttpResponse:
    if request.user.email_confirmed_at:
        messages.info(request, "Your e-mail address is confirmed already.")
    else:
        _mail_link(request, request.user)
    return redirect("users:account")


def profile(request: HttpRequest, username: str) -> HttpResponse:
    person = selectors.user_by_username(username)
    if person is None:
        raise Http404
    return render(request, "users/profile.html", {"person": person, "alias": router.db_for_read(User)})


def _register(form: SignUpForm) -> User:
    data = form.cleaned_data
    return services.create_user_with_profile(username=data["username"], email=data["email"], password=data["password1"])


def _refuse_duplicate(form: ModelForm, error: IntegrityError) -> None:
    """Put on the form what somebody has taken since it was checked. Raises the error again if that is nothing."""
    form.full_clean()
    if form.is_valid():
        raise error


def _mail_link(request: HttpRequest, user: User) -> None:
    if send_link(user=user, page=request.build_absolute_uri(reverse("users:confirm"))):
        messages.success(request, f"We have sent a link to {user.email}. Open it to confirm the address.")
    else:
        messages.warning(
            request, "The mail with the confirmation link could not be sent. Send it again in a few minutes."
        )
